"""The hash of all files: xxh3-64, in Python, a MB or two a second."""

from struct import unpack_from

WORD, HALF = (1 << 64) - 1, (1 << 32) - 1
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
    "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
PRIMES = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
SMALL_PRIMES = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D


def key64(place: int) -> int:
    return int.from_bytes(SECRET[place : place + 8], "little")


def fold(a: int, b: int) -> int:
    product = a * b
    return product & WORD ^ product >> 64


def finish(value: int) -> int:
    value = (value & WORD ^ (value & WORD) >> 37) * 0x165667919E3779F9 & WORD
    return value ^ value >> 32


def xxh3(data: bytes, seed: int = 0) -> int:
    """Return the hash; a seed is taken for 17 to 128 bytes only, as no other is needed."""
    if len(data) <= 16:
        return xxh3_of_few(data)
    if len(data) > 240:
        return xxh3_of_many(data)

    def mix(place: int, secret: int) -> int:
        low, high = unpack_from("<QQ", data, place)
        return fold(low ^ key64(secret) + seed & WORD, high ^ key64(secret + 8) - seed & WORD)

    size = len(data)
    total = size * PRIMES[0]
    if size <= 128:
        for n in range((size - 1) // 32 + 1):
            total += mix(16 * n, 32 * n) + mix(size - 16 * n - 16, 32 * n + 16)
        return finish(total)
    total = finish(total + sum(mix(16 * n, 16 * n) for n in range(8)))
    return finish(total + sum(mix(16 * n, 16 * n - 125) for n in range(8, size // 16)) + mix(size - 16, 119))


def xxh3_of_few(data: bytes) -> int:
    size = len(data)
    if size > 8:
        low = int.from_bytes(data[:8], "little") ^ key64(24) ^ key64(32)
        high = int.from_bytes(data[-8:], "little") ^ key64(40) ^ key64(48)
        return finish(size + int.from_bytes(low.to_bytes(8, "little"), "big") + high + fold(low, high))
    if size > 3:
        value = int.from_bytes(data[-4:] + data[:4], "little") ^ key64(8) ^ key64(16)
        value ^= (value << 49 | value >> 15) & WORD ^ (value << 24 | value >> 40) & WORD
        value = value * 0x9FB21C651E98DF25 & WORD
        value = (value ^ (value >> 35) + size) * 0x9FB21C651E98DF25 & WORD
        return value ^ value >> 28
    if size:
        value = data[0] << 16 | data[size >> 1] << 24 | data[-1] | size << 8
        value ^= (key64(0) ^ key64(0) >> 32) & HALF
    else:
        value = key64(56) ^ key64(64)
    value = (value ^ value >> 33) * PRIMES[1] & WORD
    value = (value ^ value >> 29) * PRIMES[2] & WORD
    return value ^ value >> 32


def xxh3_of_many(data: bytes) -> int:
    size, sums = len(data), [SMALL_PRIMES[2], *PRIMES[:4], SMALL_PRIMES[1], PRIMES[4], SMALL_PRIMES[0]]
    secrets = [unpack_from("<8Q", SECRET, 8 * n) for n in range(16)]

    def add(place: int, secret: tuple[int, ...]) -> None:
        for n, word in enumerate(unpack_from("<8Q", data, place)):
            keyed = word ^ secret[n]
            sums[n ^ 1] += word
            sums[n] += (keyed & HALF) * (keyed >> 32)

    for number, place in enumerate(range(0, size - 64, 64)):
        add(place, secrets[number % 16])
        if number % 16 == 15 and place + 64 < size:
            for n, one in enumerate(sums):
                sums[n] = ((one & WORD) ^ (one & WORD) >> 47 ^ key64(128 + 8 * n)) * SMALL_PRIMES[0] & WORD
    add(size - 64, unpack_from("<8Q", SECRET, 121))
    pairs = zip(sums[::2], sums[1::2], range(11, 75, 16), strict=True)
    return finish(size * PRIMES[0] + sum(fold(a & WORD ^ key64(n), b & WORD ^ key64(n + 8)) for a, b, n in pairs))
