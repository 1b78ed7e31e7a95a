/* The compiled read and write path: what the Python path does with records of the usual kind, in less time.

   splitdata/_compiled.py owns the switch and says who calls what; docs/speedups.md tells how to build this file.

       sequences ──find──> payloads, records ──copy──> bytes, rows ──hash──> proven: handed out
           └─ compressed, large, outside of its file, damaged, in a file that is not open: None

   None means "ask the Python path", which stays the truth and makes every error. Nothing here raises for what a file
   holds. Every bound is checked before it is read, against the real length of a map; a length that a file claims
   is never allocated before that. There is no state but that of the objects that callers hold.

   Threads: all is called with the GIL, and lets go of it for long work. Maps that are dropped meanwhile stay until
   that work is done. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if !defined(__GNUC__) || !defined(__SIZEOF_INT128__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "it takes gcc or clang, for a little-endian machine of 64 bits"
#endif

#define PREFETCH(address) __builtin_prefetch((const void *)(address))
/* What was read from a map is read once: the file may change under it. */
#define ONCE(value) __asm__ volatile("" : "+r"(value))
#define LOAD_POINTER(place) __atomic_load_n(&(place), __ATOMIC_ACQUIRE)
#define STORE_POINTER(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELEASE)

/* Of FORMAT.md, section 4. */
#define FRAME_HEADER_BYTES 32
#define BIN_SHIFT 40
#define PLACE_MASK 0xffffffffffULL
#define KIND_GROUP 3
#define LARGE_RECORD_BYTES 16777216
#define MAX_BINS 16777216
#define MAX_GROUP 65536
#define GROUP_HEAD_BYTES 8
#define GROUP_HAS_KEYS 0x100U
#define MOST_GROUP_FLAGS 0x1ffU
#define MOST_ALIGNMENT_LOG2 6

/* Word 2 of a header without the length of the key, on which no reading of a record depends. */
#define WITHOUT_KEY 0xffffffffffffULL
/* Longer work lets other threads run. */
#define LONG_WORK_BYTES (256 << 10)
#define LONG_WORK_RECORDS 1024
/* A group that is longer is kept by the Python path once it is proven, for those who come back to it. */
#define MOST_PROVEN_AGAIN (16 << 10)
/* So many records are looked up together, that the memory of one is waited for beside that of the others. */
#define AHEAD 16
#define LINE_BYTES 64
/* And of so many payloads behind the one that is hashed, up to a page each. */
#define PROVEN_AHEAD 4
#define MOST_LINES_AHEAD 8
#define MOST_SEQUENCES 0x40000000

static inline uint64_t load64(const uint8_t *place) {
    uint64_t value;
    return memcpy(&value, place, sizeof value), value;
}

static inline uint32_t load32(const uint8_t *place) {
    uint32_t value;
    return memcpy(&value, place, sizeof value), value;
}

/* ---- XXH3-64 with seed 0 and the default secret, from its specification (xxHash, doc/xxhash_spec.md) ------------- */

#define PRIME32_1 0x9E3779B1U
#define PRIME32_2 0x85EBCA77U
#define PRIME32_3 0xC2B2AE3DU
#define PRIME64_1 0x9E3779B185EBCA87ULL
#define PRIME64_2 0xC2B2AE3D27D4EB4FULL
#define PRIME64_3 0x165667B19E3779F9ULL
#define PRIME64_4 0x85EBCA77C2B2AE63ULL
#define PRIME64_5 0x27D4EB2F165667C5ULL
#define PRIME_MX1 0x165667919E3779F9ULL
#define PRIME_MX2 0x9FB21C651E98DF25ULL

#define SECRET_BYTES 192
#define STRIPE_BYTES 64
#define STRIPES_OF_BLOCK ((SECRET_BYTES - STRIPE_BYTES) / 8)
#define BLOCK_BYTES (STRIPE_BYTES * STRIPES_OF_BLOCK)

static const uint8_t SECRET[SECRET_BYTES] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

static inline uint64_t rotated(uint64_t value, int bits) { return value << bits | value >> (64 - bits); }

/* The low half of the product of two numbers of 64 bits, XOR the high half. */
static inline uint64_t folded(uint64_t a, uint64_t b) {
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t avalanche(uint64_t hash) {
    return hash = (hash ^ hash >> 37) * PRIME_MX1, hash ^ hash >> 32;
}

static inline uint64_t avalanche64(uint64_t hash) {
    hash = (hash ^ hash >> 33) * PRIME64_2;
    hash = (hash ^ hash >> 29) * PRIME64_3;
    return hash ^ hash >> 32;
}

static inline uint64_t secret64(int place) { return load64(SECRET + place); }

static inline uint64_t mixed(const uint8_t *data, int place) {
    return folded(load64(data) ^ secret64(place), load64(data + 8) ^ secret64(place + 8));
}

static inline uint64_t hash_to_16(const uint8_t *data, size_t length) {
    if (length > 8) {
        uint64_t low = load64(data) ^ (secret64(24) ^ secret64(32));
        uint64_t high = load64(data + length - 8) ^ (secret64(40) ^ secret64(48));
        return avalanche(length + __builtin_bswap64(low) + high + folded(low, high));
    }
    if (length >= 4) {
        uint64_t hash = (load32(data + length - 4) + ((uint64_t)load32(data) << 32)) ^ (secret64(8) ^ secret64(16));
        hash ^= rotated(hash, 49) ^ rotated(hash, 24);
        hash *= PRIME_MX2;
        hash ^= (hash >> 35) + length;
        hash *= PRIME_MX2;
        return hash ^ hash >> 28;
    }
    if (length) {
        uint32_t first = data[0], middle = data[length >> 1], last = data[length - 1];
        uint32_t combined = first << 16 | middle << 24 | last | (uint32_t)length << 8;
        return avalanche64((uint64_t)combined ^ (uint64_t)(load32(SECRET) ^ load32(SECRET + 4)));
    }
    return avalanche64(secret64(56) ^ secret64(64));
}

static inline uint64_t hash_to_128(const uint8_t *data, size_t length) {
    uint64_t hash = length * PRIME64_1;
    if (length > 32) {
        if (length > 64) {
            if (length > 96) hash += mixed(data + 48, 96) + mixed(data + length - 64, 112);
            hash += mixed(data + 32, 64) + mixed(data + length - 48, 80);
        }
        hash += mixed(data + 16, 32) + mixed(data + length - 32, 48);
    }
    hash += mixed(data, 0) + mixed(data + length - 16, 16);
    return avalanche(hash);
}

static inline uint64_t hash_to_240(const uint8_t *data, size_t length) {
    uint64_t hash = length * PRIME64_1;
    int rounds = (int)(length / 16);
    for (int i = 0; i < 8; i++) hash += mixed(data + 16 * i, 16 * i);
    hash = avalanche(hash);
    for (int i = 8; i < rounds; i++) hash += mixed(data + 16 * i, 16 * (i - 8) + 3);
    return avalanche(hash + mixed(data + length - 16, 136 - 17));
}

static const uint64_t FIRST_SUMS[8] = {PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3,
                                       PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1};

/* Of more than 240 bytes 8 sums are made side by side, for which processors have vectors. One text for all of them:
   P and S are what the names of the intrinsics begin and end with, N so many vectors hold the 8 sums. */
#if defined(__x86_64__)
#include <immintrin.h>
#define ADD_STRIPE(P, S, VECTOR, N, data, secret)                                                                     \
    for (int i = 0; i < N; i++) {                                                                                     \
        VECTOR word = P##_loadu_##S((const VECTOR *)((data) + i * sizeof(VECTOR)));                                   \
        VECTOR key = P##_xor_##S(word, P##_loadu_##S((const VECTOR *)((secret) + i * sizeof(VECTOR))));               \
        VECTOR product = P##_mul_epu32(key, P##_srli_epi64(key, 32));                                                 \
        sums[i] = P##_add_epi64(sums[i], P##_add_epi64(product, P##_shuffle_epi32(word, 0x4e)));                      \
    }
#define SUM_UP(NAME, ATTRIBUTES, P, S, VECTOR, N)                                                                     \
    ATTRIBUTES static void NAME(uint64_t *restrict result, const uint8_t *restrict data, size_t length) {             \
        VECTOR sums[N], prime = P##_set1_epi64x(PRIME32_1);                                                           \
        size_t num_blocks = (length - 1) / BLOCK_BYTES, num_left = (length - 1) % BLOCK_BYTES / STRIPE_BYTES;         \
        const uint8_t *place = data;                                                                                  \
        memcpy(sums, FIRST_SUMS, sizeof FIRST_SUMS);                                                                  \
        for (; num_blocks; num_blocks--, place += BLOCK_BYTES) {                                                      \
            for (int n = 0; n < STRIPES_OF_BLOCK; n++)                                                                \
                ADD_STRIPE(P, S, VECTOR, N, place + STRIPE_BYTES * n, SECRET + 8 * n)                                 \
            for (int i = 0; i < N; i++) {                                                                             \
                VECTOR secret = P##_loadu_##S((const VECTOR *)(SECRET + 128 + i * sizeof(VECTOR)));                   \
                VECTOR value = P##_xor_##S(P##_xor_##S(sums[i], P##_srli_epi64(sums[i], 47)), secret);                \
                VECTOR high = P##_mul_epu32(P##_srli_epi64(value, 32), prime);                                        \
                sums[i] = P##_add_epi64(P##_mul_epu32(value, prime), P##_slli_epi64(high, 32));                       \
            }                                                                                                         \
        }                                                                                                             \
        for (size_t n = 0; n < num_left; n++)                                                                         \
            ADD_STRIPE(P, S, VECTOR, N, place + STRIPE_BYTES * n, SECRET + 8 * n)                                     \
        ADD_STRIPE(P, S, VECTOR, N, data + length - STRIPE_BYTES, SECRET + 121)                                       \
        memcpy(result, sums, sizeof FIRST_SUMS);                                                                      \
    }
SUM_UP(sum_up_sse2, , _mm, si128, __m128i, 4)
SUM_UP(sum_up_avx2, __attribute__((target("avx2"))), _mm256, si256, __m256i, 2)
#define sum_up(result, data, length) \
    (__builtin_cpu_supports("avx2") ? sum_up_avx2(result, data, length) : sum_up_sse2(result, data, length))
#else
static void add_stripe(uint64_t *sums, const uint8_t *data, const uint8_t *secret) {
    for (int i = 0; i < 8; i++) {
        uint64_t word = load64(data + 8 * i), key = word ^ load64(secret + 8 * i);
        sums[i ^ 1] += word;
        sums[i] += (key & 0xffffffff) * (key >> 32);
    }
}

static void sum_up(uint64_t *sums, const uint8_t *data, size_t length) {
    size_t num_blocks = (length - 1) / BLOCK_BYTES, num_left = (length - 1) % BLOCK_BYTES / STRIPE_BYTES;
    const uint8_t *place = data;
    memcpy(sums, FIRST_SUMS, sizeof FIRST_SUMS);
    for (; num_blocks; num_blocks--, place += BLOCK_BYTES) {
        for (int n = 0; n < STRIPES_OF_BLOCK; n++) add_stripe(sums, place + STRIPE_BYTES * n, SECRET + 8 * n);
        for (int i = 0; i < 8; i++) sums[i] = (sums[i] ^ sums[i] >> 47 ^ secret64(128 + 8 * i)) * PRIME32_1;
    }
    for (size_t n = 0; n < num_left; n++) add_stripe(sums, place + STRIPE_BYTES * n, SECRET + 8 * n);
    add_stripe(sums, data + length - STRIPE_BYTES, SECRET + 121);
}
#endif

static uint64_t hash_of_more(const uint8_t *data, size_t length) {
    uint64_t sums[8], hash = length * PRIME64_1;
    sum_up(sums, data, length);
    for (int i = 0; i < 4; i++)
        hash += folded(sums[2 * i] ^ secret64(11 + 16 * i), sums[2 * i + 1] ^ secret64(19 + 16 * i));
    return avalanche(hash);
}

static inline uint64_t hash64(const uint8_t *data, size_t length) {
    if (length > 240) return hash_of_more(data, length);
    if (length > 128) return hash_to_240(data, length);
    return length > 16 ? hash_to_128(data, length) : hash_to_16(data, length);
}

/* ---- Frames: the maps of one segment, and the records in them ---------------------------------------------------- */

/* One file as it is mapped. Slices of its object are views of the map. */
typedef struct Map {
    Py_buffer buffer;
    uint32_t sync; /* of a bin: with which each of its frames begins */
    struct Map *next;
} Map;

typedef struct {
    PyObject_HEAD
    uint64_t num_records;
    uint32_t num_bins;
    uint32_t num_files;
    unsigned group_log2; /* 0: each record has a frame of its own */
    Py_ssize_t entry_bytes;
    Map *index;
    Map **bins;
    /* Calls that read without the GIL, and the maps that were dropped since the first of them began. */
    Py_ssize_t num_users;
    Map *dropped;
} Frames;

/* The payload of a frame that agrees with its entry and lies within its bin; not proven. */
typedef struct {
    const uint8_t *data;
    uint64_t hash;
    uint32_t length;
    uint32_t bin;
} Payload;

typedef struct {
    const uint8_t *data;
    uint32_t length;
    uint32_t payload;
} Record;

/* What a reader asks for with every call. */
typedef struct {
    int verify;
    uint64_t most_bytes;        /* a record that is longer is for the Python path to refuse */
    uint64_t most_bytes_in_all; /* and so is a batch */
} Terms;

typedef struct {
    Py_buffer buffer;
    int64_t *own; /* copied out of a list */
    const int64_t *sequences;
    Py_ssize_t count;
    Record *records;
    Payload *payloads;
    uint32_t num_payloads;
    uint64_t num_bytes, num_payload_bytes; /* to copy, and to hash of groups */
} Batch;

static void free_map(Map *map) {
    if (map == NULL) return;
    PyBuffer_Release(&map->buffer);
    PyMem_Free(map);
}

static void begin_use(Frames *self) { self->num_users++; }

static void end_use(Frames *self) {
    if (--self->num_users) return;
    while (self->dropped != NULL) {
        Map *map = self->dropped;
        self->dropped = map->next;
        free_map(map);
    }
}

/* Put a map into its place, NULL for none; with the GIL. */
static void put_map(Frames *self, Map **place, Map *map) {
    Map *old = *place;
    STORE_POINTER(*place, map);
    if (old == NULL) return;
    if (self->num_users) {
        old->next = self->dropped;
        self->dropped = old;
    } else {
        free_map(old);
    }
}

static inline uint64_t num_frames_in(const Frames *self, const Map *index) {
    return (uint64_t)(index->buffer.len / self->entry_bytes);
}

/* Find one frame, and say whether it is of the usual kind and lies within its bin: FORMAT.md section 9, steps 3 to 7. */
static inline int find_frame(const Frames *self, const Map *index, uint64_t frame, uint64_t limit, Payload *found) {
    if (frame >= num_frames_in(self, index)) return 0;
    const uint8_t *entry = (const uint8_t *)index->buffer.buf + frame * (uint64_t)self->entry_bytes;
    uint64_t place = load64(entry), lengths = load64(entry + 8);
    ONCE(place);
    ONCE(lengths);
    uint64_t bin = place >> BIN_SHIFT, offset = (place & PLACE_MASK) * 8, length = lengths >> 32;
    if (bin >= self->num_files || (uint32_t)bin != (uint32_t)frame % self->num_bins) return 0;
    if ((lengths & 0xffffffff) != length || length >= limit) return 0;
    const Map *map = LOAD_POINTER(self->bins[bin]);
    if (map == NULL || offset + FRAME_HEADER_BYTES + length > (uint64_t)map->buffer.len) return 0;
    const uint8_t *header = (const uint8_t *)map->buffer.buf + offset;
    if (load32(header) != map->sync) return 0;
    uint64_t kind = self->group_log2 ? (uint64_t)KIND_GROUP << 32 : 0;
    if ((load64(header + 16) & WITHOUT_KEY) != (frame | kind) || load64(header + 24) != lengths) return 0;
    found->data = header + FRAME_HEADER_BYTES;
    found->hash = load64(header + 8);
    ONCE(found->hash);
    found->length = (uint32_t)length;
    found->bin = (uint32_t)bin;
    return 1;
}

/* Find one record in a group: FORMAT.md section 11. */
static inline int find_item(const Frames *self, const Payload *group, uint64_t sequence, Record *found) {
    uint32_t size = 1U << self->group_log2, slot = (uint32_t)sequence & (size - 1);
    uint64_t length = group->length;
    if (length < GROUP_HEAD_BYTES) return 0;
    uint64_t head = load64(group->data);
    ONCE(head);
    uint32_t count = (uint32_t)head, flags = (uint32_t)(head >> 32);
    if (flags > MOST_GROUP_FLAGS || (flags & 0xff) > MOST_ALIGNMENT_LOG2) return 0;
    /* The last group of what is committed may hold more by now. */
    int is_full = sequence >> self->group_log2 < self->num_records >> self->group_log2;
    uint32_t least = is_full ? size : (uint32_t)self->num_records & (size - 1);
    if (count < least || count > size || slot >= count) return 0;
    uint64_t tables = GROUP_HEAD_BYTES + (uint64_t)count * (flags & GROUP_HAS_KEYS ? 8 : 4);
    if (tables > length) return 0;
    uint64_t stop = load32(group->data + GROUP_HEAD_BYTES + 4 * slot);
    uint64_t start = slot ? load32(group->data + GROUP_HEAD_BYTES + 4 * (slot - 1)) : tables;
    ONCE(stop);
    ONCE(start);
    uint64_t step = (uint64_t)1 << (flags & 0xff);
    start = (start + step - 1) & ~(step - 1);
    if (start < tables || stop < start || length < stop) return 0;
    found->data = group->data + start;
    found->length = (uint32_t)(stop - start);
    return 1;
}

/* Ask the memory for the entries of some records, and then for their frames. */
static void look_ahead(const Frames *self, const Map *index, const int64_t *sequences, Py_ssize_t count) {
    const uint8_t *entries = index->buffer.buf;
    uint64_t num_frames = num_frames_in(self, index), frames[AHEAD];
    for (Py_ssize_t i = 0; i < count; i++) {
        frames[i] = (uint64_t)sequences[i] >> self->group_log2;
        if (frames[i] < num_frames) PREFETCH(entries + frames[i] * (uint64_t)self->entry_bytes);
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (frames[i] >= num_frames) continue;
        const uint8_t *entry = entries + frames[i] * (uint64_t)self->entry_bytes;
        uint64_t place = load64(entry), length = load32(entry + 12), bin = place >> BIN_SHIFT;
        const Map *map = bin < self->num_files ? LOAD_POINTER(self->bins[bin]) : NULL;
        uint64_t offset = (place & PLACE_MASK) * 8, stop = offset + FRAME_HEADER_BYTES + length;
        if (map == NULL || stop > (uint64_t)map->buffer.len) continue;
        const uint8_t *frame = (const uint8_t *)map->buffer.buf + offset;
        uint64_t num_bytes = stop - offset;
        for (uint64_t line = 0; line < num_bytes && line < MOST_LINES_AHEAD * LINE_BYTES; line += LINE_BYTES)
            PREFETCH(frame + line);
    }
}

/* Find the group of a record among those of the batch, or add it; `table` has room for twice as many, 0 is none. */
static inline int find_group(const Frames *self, const Map *index, uint64_t frame, Batch *batch, uint64_t *frames,
                             uint32_t *table, uint32_t mask, uint32_t *number) {
    uint32_t slot = (uint32_t)(frame * PRIME64_1 >> 32) & mask;
    for (; table[slot]; slot = (slot + 1) & mask) {
        if (frames[table[slot] - 1] == frame) {
            *number = table[slot] - 1;
            return 1;
        }
    }
    if (!find_frame(self, index, frame, LARGE_RECORD_BYTES, &batch->payloads[batch->num_payloads])) return 0;
    batch->num_payload_bytes += batch->payloads[batch->num_payloads].length;
    frames[batch->num_payloads] = frame;
    *number = batch->num_payloads++;
    table[slot] = batch->num_payloads;
    return 1;
}

/* Find the records of a batch; 0 unless all are usual. */
static int find_records(const Frames *self, const Map *index, Batch *batch, const Terms *terms, uint64_t *frames,
                        uint32_t *table, uint32_t mask) {
    const int64_t *sequences = batch->sequences;
    uint64_t limit = terms->most_bytes + 1 < LARGE_RECORD_BYTES ? terms->most_bytes + 1 : LARGE_RECORD_BYTES;
    for (Py_ssize_t begin = 0; begin < batch->count; begin += AHEAD) {
        Py_ssize_t stop = batch->count - begin < AHEAD ? batch->count : begin + AHEAD;
        look_ahead(self, index, sequences + begin, stop - begin);
        for (Py_ssize_t i = begin; i < stop; i++) {
            uint64_t sequence = (uint64_t)sequences[i];
            Record *record = &batch->records[i];
            if (sequence >= self->num_records) return 0;
            if (self->group_log2) {
                uint64_t frame = sequence >> self->group_log2;
                if (!find_group(self, index, frame, batch, frames, table, mask, &record->payload) ||
                    !find_item(self, &batch->payloads[record->payload], sequence, record) ||
                    record->length > terms->most_bytes)
                    return 0;
            } else {
                Payload *payload = &batch->payloads[i];
                if (!find_frame(self, index, sequence, limit, payload)) return 0;
                record->data = payload->data;
                record->length = payload->length;
                record->payload = (uint32_t)i;
            }
            batch->num_bytes += record->length;
        }
    }
    if (!self->group_log2) batch->num_payloads = (uint32_t)batch->count;
    return 1;
}

static void free_batch(Batch *batch) {
    PyMem_Free(batch->records);
    PyMem_Free(batch->payloads);
    PyMem_Free(batch->own);
    PyBuffer_Release(&batch->buffer);
}

/* Take the numbers of a list of ints, or of a row of int64; 0: they are neither, or an exception. */
static int take_sequences(PyObject *sequences, Batch *batch) {
    if (!PyList_CheckExact(sequences)) {
        if (PyObject_GetBuffer(sequences, &batch->buffer, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) {
            PyErr_Clear();
            return 0;
        }
        const char *format = batch->buffer.format;
        batch->sequences = batch->buffer.buf;
        batch->count = batch->buffer.len / 8;
        return batch->buffer.itemsize == 8 && batch->buffer.ndim == 1 && format != NULL &&
               (!strcmp(format, "l") || !strcmp(format, "q")) && batch->count < MOST_SEQUENCES;
    }
    Py_ssize_t count = batch->count = PyList_Size(sequences);
    if (count >= MOST_SEQUENCES) return 0;
    batch->sequences = batch->own = PyMem_Malloc((size_t)(count + 1) * sizeof *batch->own);
    if (batch->own == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *number = PyList_GetItem(sequences, i);
        if (!PyLong_CheckExact(number)) return 0;
        int overflow;
        batch->own[i] = PyLong_AsLongLongAndOverflow(number, &overflow);
        if (overflow) return 0;
    }
    return 1;
}

/* Take a row of sequence numbers and find their records. 1: found; 0: ask the Python path; -1: an exception. */
static int open_batch(Frames *self, PyObject *sequences, const Terms *terms, Batch *batch) {
    memset(batch, 0, sizeof *batch);
    if (!take_sequences(sequences, batch) || self->index == NULL) {
        free_batch(batch);
        return PyErr_Occurred() ? -1 : 0;
    }
    Py_ssize_t count = batch->count;
    uint32_t mask = 0;
    uint32_t *table = NULL;
    uint64_t *frames = NULL;
    batch->records = PyMem_Malloc((size_t)(count + 1) * sizeof(Record));
    batch->payloads = PyMem_Malloc((size_t)(count + 1) * sizeof(Payload));
    if (self->group_log2) {
        mask = 1;
        while (mask < 2 * (uint32_t)count) mask = 2 * mask + 1;
        table = PyMem_Calloc((size_t)mask + 1, sizeof *table);
        frames = PyMem_Malloc((size_t)(count + 1) * sizeof *frames);
    }
    int is_found = -1;
    if (batch->records == NULL || batch->payloads == NULL || (mask && (table == NULL || frames == NULL))) {
        PyErr_NoMemory();
    } else if (count < LONG_WORK_RECORDS) {
        is_found = find_records(self, self->index, batch, terms, frames, table, mask);
    } else {
        const Map *index = self->index;
        begin_use(self);
        Py_BEGIN_ALLOW_THREADS
        is_found = find_records(self, index, batch, terms, frames, table, mask);
        Py_END_ALLOW_THREADS
        end_use(self);
    }
    PyMem_Free(table);
    PyMem_Free(frames);
    uint64_t most = batch->num_bytes > batch->num_payload_bytes ? batch->num_bytes : batch->num_payload_bytes;
    if (is_found == 1 && most > terms->most_bytes_in_all) is_found = 0;
    if (is_found != 1) free_batch(batch);
    return is_found;
}

/* Copy the records of a batch, and say whether what was copied is proven. A copy comes before its proof: what changes
   in between is found. */
static int copy_proven(const Batch *batch, uint8_t *const *targets, int verify, int is_grouped) {
    int is_proven = 1;
    for (Py_ssize_t i = 0; i < batch->count; i++) {
        const Record *record = &batch->records[i];
        memcpy(targets[i], record->data, record->length);
        if (verify && !is_grouped) is_proven &= hash64(targets[i], record->length) == batch->payloads[i].hash;
    }
    return is_proven;
}

static int are_proven(const Batch *batch) {
    int is_proven = 1;
    for (uint32_t i = 0, n = batch->num_payloads; i < n; i++) {
        const Payload *next = &batch->payloads[i + PROVEN_AHEAD < n ? i + PROVEN_AHEAD : i];
        for (uint32_t line = 0; line < next->length && line < 4096; line += LINE_BYTES) PREFETCH(next->data + line);
        is_proven &= hash64(batch->payloads[i].data, batch->payloads[i].length) == batch->payloads[i].hash;
    }
    return is_proven;
}

/* Copy and prove, without the GIL where that takes long. The caller has begun to use the maps. */
static int fill(const Frames *self, const Batch *batch, uint8_t *const *targets, int verify) {
    int is_proven, is_grouped = self->group_log2 > 0;
    int is_long = batch->count >= LONG_WORK_RECORDS || batch->num_bytes + batch->num_payload_bytes >= LONG_WORK_BYTES;
    PyThreadState *state = is_long ? PyEval_SaveThread() : NULL;
    is_proven = targets == NULL || copy_proven(batch, targets, verify, is_grouped);
    if (is_proven && verify && (is_grouped || targets == NULL)) is_proven = are_proven(batch);
    if (state != NULL) PyEval_RestoreThread(state);
    return is_proven;
}

static int parse_terms(PyObject *const *args, Py_ssize_t num_args, Py_ssize_t expected, Terms *terms) {
    if (num_args != expected) {
        PyErr_Format(PyExc_TypeError, "%zd arguments are expected, %zd were given", expected, num_args);
        return 0;
    }
    terms->verify = PyObject_IsTrue(args[expected - 3]);
    terms->most_bytes = PyLong_AsUnsignedLongLong(args[expected - 2]);
    terms->most_bytes_in_all = PyLong_AsUnsignedLongLong(args[expected - 1]);
    if (terms->most_bytes > INT64_MAX) terms->most_bytes = INT64_MAX;
    return !PyErr_Occurred();
}

static PyObject *list_of(PyObject **objects, Py_ssize_t count) {
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        Py_INCREF(objects[i]);
        PyList_SetItem(list, i, objects[i]);
    }
    return list;
}

/* Make bytes for each record, have them filled, and return them as a list; NULL without an exception: not proven. */
static PyObject *copies_of(Frames *self, const Batch *batch, int verify) {
    Py_ssize_t count = batch->count, num_made = 0;
    PyObject *list = NULL;
    PyObject **objects = PyMem_Malloc((size_t)(count + 1) * sizeof *objects);
    uint8_t **targets = PyMem_Malloc((size_t)(count + 1) * sizeof *targets);
    if (objects == NULL || targets == NULL) {
        PyErr_NoMemory();
    } else {
        for (; num_made < count; num_made++) {
            objects[num_made] = PyBytes_FromStringAndSize(NULL, batch->records[num_made].length);
            if (objects[num_made] == NULL) break;
            targets[num_made] = (uint8_t *)PyBytes_AsString(objects[num_made]);
        }
        if (num_made == count && fill(self, batch, targets, verify)) list = list_of(objects, count);
    }
    while (num_made) Py_DECREF(objects[--num_made]);
    PyMem_Free(targets);
    PyMem_Free(objects);
    return list;
}

static PyObject *none_unless_raised(PyObject *result) {
    if (result != NULL || PyErr_Occurred()) return result;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(records_doc,
             "records(sequences, verify, most_bytes, most_bytes_in_all, /)\n--\n\n"
             "Return records as a list of bytes; None: ask the Python path.");
static PyObject *frames_records(PyObject *object, PyObject *const *args, Py_ssize_t num_args) {
    Frames *self = (Frames *)object;
    Terms terms;
    Batch batch;
    PyObject *list = NULL;
    if (!parse_terms(args, num_args, 4, &terms)) return NULL;
    begin_use(self);
    if (open_batch(self, args[0], &terms, &batch) == 1) {
        list = copies_of(self, &batch, terms.verify);
        free_batch(&batch);
    }
    end_use(self);
    return none_unless_raised(list);
}

/* Return a part of a map as a view of it. */
static PyObject *view_of(const Map *map, const uint8_t *data, uint32_t length) {
    Py_ssize_t start = data - (const uint8_t *)map->buffer.buf;
    PyObject *view = NULL, *slice = NULL;
    PyObject *begin = PyLong_FromSsize_t(start), *end = PyLong_FromSsize_t(start + length);
    if (begin != NULL && end != NULL) slice = PySlice_New(begin, end, NULL);
    if (slice != NULL) view = PyObject_GetItem(map->buffer.obj, slice);
    Py_XDECREF(slice);
    Py_XDECREF(begin);
    Py_XDECREF(end);
    return view;
}

static PyObject *views_of(Frames *self, const Batch *batch) {
    PyObject *list = PyList_New(batch->count);
    for (Py_ssize_t i = 0; list != NULL && i < batch->count; i++) {
        const Record *record = &batch->records[i];
        const Map *map = self->bins[batch->payloads[record->payload].bin];
        /* It may have been dropped, and mapped anew, while others ran. */
        const uint8_t *data = map == NULL ? NULL : map->buffer.buf;
        int is_there = data != NULL && data <= record->data && record->data + record->length <= data + map->buffer.len;
        PyObject *view = is_there ? view_of(map, record->data, record->length) : NULL;
        if (view == NULL) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SetItem(list, i, view);
    }
    return list;
}

PyDoc_STRVAR(views_doc,
             "views(sequences, verify, most_bytes, most_bytes_in_all, /)\n--\n\n"
             "Return records as a list of views of the maps; None: ask the Python path.");
static PyObject *frames_views(PyObject *object, PyObject *const *args, Py_ssize_t num_args) {
    Frames *self = (Frames *)object;
    Terms terms;
    Batch batch;
    PyObject *list = NULL;
    if (!parse_terms(args, num_args, 4, &terms)) return NULL;
    /* A view costs no memory, whatever its length. That of a group may be long because one group is read often. */
    if (!self->group_log2) terms.most_bytes = terms.most_bytes_in_all = INT64_MAX;
    begin_use(self);
    if (open_batch(self, args[0], &terms, &batch) == 1) {
        if (fill(self, &batch, NULL, terms.verify)) list = views_of(self, &batch);
        free_batch(&batch);
    }
    end_use(self);
    return none_unless_raised(list);
}

PyDoc_STRVAR(size_doc,
             "size(sequence, /)\n--\n\n"
             "Return the length of one record, found as it is for reading but not proven; None: ask the Python path.");
static PyObject *frames_size(PyObject *object, PyObject *number) {
    Frames *self = (Frames *)object;
    Payload payload;
    Record record;
    Py_ssize_t sequence = PyLong_AsSsize_t(number);
    if (PyErr_Occurred()) return NULL;
    uint64_t frame = (uint64_t)sequence >> self->group_log2;
    if (sequence < 0 || (uint64_t)sequence >= self->num_records || self->index == NULL ||
        !find_frame(self, self->index, frame, LARGE_RECORD_BYTES, &payload))
        Py_RETURN_NONE;
    if (!self->group_log2) return PyLong_FromUnsignedLong(payload.length);
    if (!find_item(self, &payload, (uint64_t)sequence, &record)) Py_RETURN_NONE;
    return PyLong_FromUnsignedLong(record.length);
}

/* Say whether all records have the length of a row, and where each row begins; NULL: they have not, or an exception. */
static uint8_t **rows_of(const Batch *batch, const Py_buffer *rows) {
    if (batch->count == 0 || rows->len % batch->count) return NULL;
    Py_ssize_t row_bytes = rows->len / batch->count;
    for (Py_ssize_t i = 0; i < batch->count; i++)
        if (batch->records[i].length != row_bytes) return NULL;
    uint8_t **targets = PyMem_Malloc((size_t)batch->count * sizeof *targets);
    if (targets == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < batch->count; i++) targets[i] = (uint8_t *)rows->buf + i * row_bytes;
    return targets;
}

PyDoc_STRVAR(gather_doc,
             "gather(sequences, rows, verify, most_bytes, most_bytes_in_all, /)\n--\n\n"
             "Copy records of one length into the rows of a buffer, and say whether that is done;\n"
             "False: ask the Python path, the rows may hold anything.");
static PyObject *frames_gather(PyObject *object, PyObject *const *args, Py_ssize_t num_args) {
    Frames *self = (Frames *)object;
    Terms terms;
    Batch batch;
    Py_buffer rows;
    int is_done = 0;
    if (!parse_terms(args, num_args, 5, &terms)) return NULL;
    if (PyObject_GetBuffer(args[1], &rows, PyBUF_CONTIG) < 0) return NULL;
    begin_use(self);
    if (open_batch(self, args[0], &terms, &batch) == 1) {
        uint8_t **targets = rows_of(&batch, &rows);
        is_done = targets != NULL && fill(self, &batch, targets, terms.verify);
        PyMem_Free(targets);
        free_batch(&batch);
    }
    end_use(self);
    PyBuffer_Release(&rows);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(is_done);
}

static Map *map_of(PyObject *object) {
    Map *map = PyMem_Calloc(1, sizeof *map);
    if (map == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (PyObject_GetBuffer(object, &map->buffer, PyBUF_SIMPLE) < 0) {
        PyMem_Free(map);
        return NULL;
    }
    return map;
}

PyDoc_STRVAR(put_index_doc, "put_index(entries, /)\n--\n\nTake the entries of the index, as they are mapped; None: let go of them.");
static PyObject *frames_put_index(PyObject *object, PyObject *entries) {
    Frames *self = (Frames *)object;
    Map *map = NULL;
    if (entries != Py_None && (map = map_of(entries)) == NULL) return NULL;
    put_map(self, &self->index, map);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(put_bin_doc,
             "put_bin(bin_index, view, sync, /)\n--\n\n"
             "Take the view of a mapped bin, whose frames begin with `sync`; None: let go of it.");
static PyObject *frames_put_bin(PyObject *object, PyObject *args) {
    Frames *self = (Frames *)object;
    Py_ssize_t number;
    PyObject *view;
    unsigned int sync;
    Map *map = NULL;
    if (!PyArg_ParseTuple(args, "nOI", &number, &view, &sync)) return NULL;
    if (number < 0 || number >= (Py_ssize_t)self->num_files) {
        PyErr_Format(PyExc_IndexError, "bin %zd of %u", number, (unsigned)self->num_files);
        return NULL;
    }
    if (view != Py_None && (map = map_of(view)) == NULL) return NULL;
    if (map != NULL) map->sync = (uint32_t)sync;
    put_map(self, &self->bins[number], map);
    Py_RETURN_NONE;
}

static PyObject *frames_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(keywords)) {
    Py_ssize_t num_records, num_bins, num_files, group;
    if (!PyArg_ParseTuple(args, "nnnn:Frames", &num_records, &num_bins, &num_files, &group)) return NULL;
    if (num_records < 0 || num_bins < 1 || num_bins > MAX_BINS || num_files < 0 || num_files > num_bins || group < 1 ||
        group > MAX_GROUP || group & (group - 1)) {
        PyErr_SetString(PyExc_ValueError, "no segment has so many records, bins or records of a group");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Frames *self = (Frames *)allocate(type, 0);
    if (self == NULL) return NULL;
    self->num_records = (uint64_t)num_records;
    self->num_bins = (uint32_t)num_bins;
    self->num_files = (uint32_t)num_files;
    while (group >> self->group_log2 > 1) self->group_log2++;
    self->entry_bytes = group > 1 ? 16 + 4 * group : 16;
    self->bins = PyMem_Calloc((size_t)num_files + 1, sizeof *self->bins);
    if (self->bins == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void free_object(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static void frames_dealloc(PyObject *object) {
    Frames *self = (Frames *)object;
    for (uint32_t i = 0; self->bins != NULL && i < self->num_files; i++) free_map(self->bins[i]);
    PyMem_Free(self->bins);
    free_map(self->index);
    free_object(object);
}

PyDoc_STRVAR(frames_getter_doc,
             "getter(otherwise, verify, most_bytes, /)\n--\n\n"
             "Return what returns one record by its sequence number; of one that is not usual what `otherwise` does,\n"
             "or None if that is None.");
static PyObject *frames_getter(PyObject *frames, PyObject *args);

static PyMethodDef frames_methods[] = {
    {"getter", frames_getter, METH_VARARGS, frames_getter_doc},
    {"records", (PyCFunction)(void (*)(void))frames_records, METH_FASTCALL, records_doc},
    {"views", (PyCFunction)(void (*)(void))frames_views, METH_FASTCALL, views_doc},
    {"gather", (PyCFunction)(void (*)(void))frames_gather, METH_FASTCALL, gather_doc},
    {"size", frames_size, METH_O, size_doc},
    {"put_index", frames_put_index, METH_O, put_index_doc},
    {"put_bin", frames_put_bin, METH_VARARGS, put_bin_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(frames_doc,
             "Frames(num_records, num_bins, num_files, group, /)\n--\n\n"
             "The maps of one segment, and reads of its records; `num_files` bins hold some.\n\n"
             "It holds each map until that is let go of. Safe to share between threads.");
static PyType_Slot frames_slots[] = {
    {Py_tp_doc, (void *)frames_doc},
    {Py_tp_new, frames_new},
    {Py_tp_dealloc, frames_dealloc},
    {Py_tp_methods, frames_methods},
    {0, NULL},
};
static PyType_Spec frames_spec = {"splitdata._speedups.Frames", sizeof(Frames), 0, Py_TPFLAGS_DEFAULT, frames_slots};

/* ---- Getter: one record at a time -------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Frames *frames;
    PyObject *otherwise;
    Terms terms;
} Getter;

/* Return one record, proven; NULL without an exception: ask the Python path. */
static PyObject *one_record(Frames *frames, uint64_t sequence, const Terms *terms) {
    Payload payload;
    Record record;
    if (sequence >= frames->num_records || frames->index == NULL) return NULL;
    uint64_t limit = frames->group_log2 || terms->most_bytes >= LARGE_RECORD_BYTES ? LARGE_RECORD_BYTES
                                                                                   : terms->most_bytes + 1;
    if (!find_frame(frames, frames->index, sequence >> frames->group_log2, limit, &payload)) return NULL;
    record.data = payload.data;
    record.length = payload.length;
    if (frames->group_log2 && (payload.length > MOST_PROVEN_AGAIN || !find_item(frames, &payload, sequence, &record) ||
                               record.length > terms->most_bytes))
        return NULL;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, record.length);
    if (bytes == NULL) return NULL;
    uint8_t *target = (uint8_t *)PyBytes_AsString(bytes);
    begin_use(frames);
    PyThreadState *state = record.length >= LONG_WORK_BYTES ? PyEval_SaveThread() : NULL;
    memcpy(target, record.data, record.length);
    const uint8_t *hashed = frames->group_log2 ? payload.data : target;
    int is_proven = !terms->verify || hash64(hashed, payload.length) == payload.hash;
    if (state != NULL) PyEval_RestoreThread(state);
    end_use(frames);
    if (is_proven) return bytes;
    Py_DECREF(bytes);
    return NULL;
}

PyDoc_STRVAR(get_doc, "get(sequence, /)\n--\n\nReturn one record, None if it is not usual and nobody is there to ask.");
static PyObject *getter_get(PyObject *object, PyObject *number) {
    Getter *self = (Getter *)object;
    /* A bool is no position, and other numbers are for Python to look at. */
    Py_ssize_t sequence = PyLong_CheckExact(number) ? PyLong_AsSsize_t(number) : -1;
    if (sequence >= 0) {
        PyObject *record = one_record(self->frames, (uint64_t)sequence, &self->terms);
        if (record != NULL || PyErr_Occurred()) return record;
    }
    PyErr_Clear();
    if (self->otherwise == Py_None) Py_RETURN_NONE;
    return PyObject_CallFunctionObjArgs(self->otherwise, number, NULL);
}

static void getter_dealloc(PyObject *object) {
    Getter *self = (Getter *)object;
    Py_XDECREF((PyObject *)self->frames);
    Py_XDECREF(self->otherwise);
    free_object(object);
}

static PyMethodDef getter_methods[] = {{"get", getter_get, METH_O, get_doc}, {NULL, NULL, 0, NULL}};

PyDoc_STRVAR(getter_doc, "Returns one record at a time.");
static PyType_Slot getter_slots[] = {
    {Py_tp_doc, (void *)getter_doc},
    {Py_tp_dealloc, getter_dealloc},
    {Py_tp_methods, getter_methods},
    {0, NULL},
};
static PyType_Spec getter_spec = {"splitdata._speedups.Getter", sizeof(Getter), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, getter_slots};

/* Return what `Frames.getter` says; it is among the methods of Frames, whose type the module has. */
static PyObject *frames_getter(PyObject *frames, PyObject *args) {
    PyObject *otherwise, *get = NULL;
    int verify;
    unsigned long long most_bytes;
    if (!PyArg_ParseTuple(args, "OpK:getter", &otherwise, &verify, &most_bytes)) return NULL;
    PyObject *module = PyType_GetModule(Py_TYPE(frames)), *type = NULL;
    if (module == NULL || (type = PyObject_GetAttrString(module, "Getter")) == NULL) return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot((PyTypeObject *)type, Py_tp_alloc);
    Getter *self = (Getter *)allocate((PyTypeObject *)type, 0);
    Py_DECREF(type);
    if (self == NULL) return NULL;
    Py_INCREF(frames);
    Py_INCREF(otherwise);
    self->frames = (Frames *)frames;
    self->otherwise = otherwise;
    self->terms.verify = verify;
    self->terms.most_bytes = most_bytes > INT64_MAX ? INT64_MAX : most_bytes;
    get = PyObject_GetAttrString((PyObject *)self, "get");
    Py_DECREF((PyObject *)self);
    return get;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* A list of bytes, held: another thread may change the list meanwhile. */
typedef struct {
    PyObject *held;
    Py_ssize_t count;
    const uint8_t **data;
    uint32_t *lengths;
    uint64_t num_bytes, num_filled; /* of all together; how many are not empty */
} Given;

static void free_given(Given *given) {
    Py_XDECREF(given->held);
    PyMem_Free(given->data);
    PyMem_Free(given->lengths);
}

/* 0: one is not bytes, or longer than `most`, or an exception. */
static int take_given(PyObject *list, uint64_t most, Given *given) {
    memset(given, 0, sizeof *given);
    if (!PyList_CheckExact(list) || (given->held = PyList_GetSlice(list, 0, PY_SSIZE_T_MAX)) == NULL) return 0;
    given->count = PyList_Size(given->held);
    given->data = PyMem_Malloc((size_t)(given->count + 1) * sizeof *given->data);
    given->lengths = PyMem_Malloc((size_t)(given->count + 1) * sizeof *given->lengths);
    if (given->data == NULL || given->lengths == NULL) return PyErr_NoMemory() != NULL;
    for (Py_ssize_t i = 0; i < given->count; i++) {
        PyObject *one = PyList_GetItem(given->held, i);
        if (!PyBytes_CheckExact(one) || (uint64_t)PyBytes_Size(one) > most) return 0;
        given->data[i] = (const uint8_t *)PyBytes_AsString(one);
        given->lengths[i] = (uint32_t)PyBytes_Size(one);
        given->num_bytes += given->lengths[i];
        given->num_filled += given->lengths[i] > 0;
    }
    return 1;
}

static inline uint8_t *put(uint8_t *target, const void *data, size_t length) {
    return memcpy(target, data, length), target + length;
}

static inline uint8_t *put64(uint8_t *target, uint64_t value) { return put(target, &value, sizeof value); }

/* FORMAT.md section 8. */
static inline uint64_t first_word(uint64_t salt, uint64_t offset, const uint64_t *words) {
    static const uint64_t factors[3] = {0xc90fdaa22168c235ULL, 0xa4093822299f31d1ULL, 0x452821e638d01377ULL};
    uint64_t x = salt ^ offset * 0x9e3779b97f4a7c15ULL;
    for (int i = 0; i < 3; i++) x = (x ^ x >> 32 ^ words[i]) * factors[i];
    return (salt & 0xffffffff) | 1 | x >> 32 << 32;
}

/* One column of a chunk: the records that go to one bin, one behind the other. */
typedef struct {
    uint64_t bin, salt, offset, end;
    PyObject *part;
    uint8_t *target;
} Column;

static uint64_t frame_bytes(const Given *records, const Given *keys, Py_ssize_t i) {
    uint32_t key = keys->count ? keys->lengths[i] : 0;
    return FRAME_HEADER_BYTES + (uint64_t)records->lengths[i] + (key ? key + 8 : 0);
}

static void write_frames(const Given *records, const Given *keys, Column *columns, Py_ssize_t num_columns, uint64_t kind,
                         uint64_t sequence, uint64_t alignment, uint8_t *entries, uint8_t *hashes, uint8_t *key_hashes) {
    for (Py_ssize_t i = 0; i < records->count; i++) {
        Column *column = &columns[i % num_columns];
        uint64_t length = records->lengths[i], key_length = keys->count ? keys->lengths[i] : 0;
        uint64_t size = frame_bytes(records, keys, i), padding = (0 - size) & (alignment - 1);
        uint64_t words[3] = {hash64(records->data[i], length), (sequence + (uint64_t)i) | kind << 32 | key_length << 48,
                             length | length << 32};
        uint8_t *target = put64(column->target, first_word(column->salt, column->offset, words));
        target = put(put(target, words, sizeof words), records->data[i], length);
        if (key_length) {
            uint64_t hash = hash64(keys->data[i], key_length);
            target = put64(put(target, keys->data[i], key_length), hash);
            key_hashes = put64(key_hashes, hash);
        }
        memset(target, 0, padding);
        hashes = put64(hashes, words[0]);
        entries = put64(put64(entries, column->bin << BIN_SHIFT | column->offset / 8), words[2]);
        column->end = column->offset + size;
        column->offset += size + padding;
        column->target = target + padding;
    }
}

/* Make room for each column; 0 with an exception if there is none. */
static int make_parts(const Given *records, const Given *keys, Column *columns, Py_ssize_t num_columns, uint64_t alignment) {
    for (Py_ssize_t i = 0; i < records->count; i++)
        columns[i % num_columns].end += (frame_bytes(records, keys, i) + alignment - 1) & ~(alignment - 1);
    for (Py_ssize_t i = 0; i < num_columns; i++) {
        columns[i].part = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)columns[i].end);
        if (columns[i].part == NULL) return 0;
        columns[i].target = (uint8_t *)PyBytes_AsString(columns[i].part);
    }
    return 1;
}

PyDoc_STRVAR(frame_doc,
             "frame(records, keys, kind, first_sequence, alignment, columns, most_mean_bytes, /)\n--\n\n"
             "Lay out records as frames, with the key of each, or none at all.\n\n"
             "`columns` holds bin, salt and offset of each column, uint64[n, 3]. Returns for each column its bytes;\n"
             "their ends uint64[n], entries, hashes of records and of keys as bytes; None: ask the Python path.");
static PyObject *module_frame(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *given_records, *given_keys, *parts = NULL, *outputs[4] = {NULL, NULL, NULL, NULL}, *result = NULL;
    unsigned long long kind, sequence, alignment, most_mean;
    Py_buffer places;
    Given records, keys;
    const char *format = "OOKKKy*K:frame";
    if (!PyArg_ParseTuple(args, format, &given_records, &given_keys, &kind, &sequence, &alignment, &places, &most_mean))
        return NULL;
    memset(&keys, 0, sizeof keys);
    Py_ssize_t n = places.len / 24;
    Column *columns = PyMem_Calloc((size_t)n + 1, sizeof *columns);
    int is_usual = columns != NULL && take_given(given_records, LARGE_RECORD_BYTES - 1, &records) && n && records.count >= n;
    is_usual = is_usual && records.num_bytes < most_mean * (uint64_t)records.count;
    if (is_usual && given_keys != Py_None)
        is_usual = take_given(given_keys, 0xffff, &keys) && keys.count == records.count;
    if (is_usual && !PyErr_Occurred() && alignment && !(alignment & (alignment - 1)) &&
        make_parts(&records, &keys, columns, n, alignment)) {
        uint8_t *targets[4];
        Py_ssize_t sizes[4] = {8 * n, 16 * records.count, 8 * records.count, 8 * (Py_ssize_t)keys.num_filled};
        int is_made = 1;
        for (int i = 0; i < 4; i++) {
            is_made = is_made && (outputs[i] = PyBytes_FromStringAndSize(NULL, sizes[i])) != NULL;
            targets[i] = is_made ? (uint8_t *)PyBytes_AsString(outputs[i]) : NULL;
        }
        for (Py_ssize_t i = 0; i < n; i++) {
            const uint8_t *place = (const uint8_t *)places.buf + 24 * i;
            columns[i].bin = load64(place);
            columns[i].salt = load64(place + 8);
            columns[i].offset = load64(place + 16);
        }
        if (is_made) {
            Py_BEGIN_ALLOW_THREADS
            write_frames(&records, &keys, columns, n, kind, sequence, alignment, targets[1], targets[2], targets[3]);
            Py_END_ALLOW_THREADS
            parts = PyList_New(n);
        }
        for (Py_ssize_t i = 0; parts != NULL && i < n; i++) {
            put64(targets[0] + 8 * i, columns[i].end);
            Py_INCREF(columns[i].part);
            PyList_SetItem(parts, i, columns[i].part);
        }
        if (parts != NULL) result = PyTuple_Pack(5, parts, outputs[0], outputs[1], outputs[2], outputs[3]);
    }
    for (int i = 0; i < 4; i++) Py_XDECREF(outputs[i]);
    Py_XDECREF(parts);
    for (Py_ssize_t i = 0; columns != NULL && i < n; i++) Py_XDECREF(columns[i].part);
    if (columns != NULL) free_given(&records);
    free_given(&keys);
    PyMem_Free(columns);
    PyBuffer_Release(&places);
    return none_unless_raised(result);
}

/* Lay out one group without keys: FORMAT.md section 11. The target is NULL for its length alone. */
static uint64_t pack_group(const Given *records, Py_ssize_t first, Py_ssize_t count, unsigned log2, uint8_t *target) {
    uint64_t end = GROUP_HEAD_BYTES + 4 * (uint64_t)count, step = (uint64_t)1 << log2;
    if (target != NULL) put64(target, (uint64_t)count | (uint64_t)log2 << 32);
    for (Py_ssize_t i = 0; i < count; i++) {
        uint64_t start = (end + step - 1) & ~(step - 1), length = records->lengths[first + i];
        if (target != NULL) {
            uint32_t stop = (uint32_t)(start + length);
            memset(target + end, 0, start - end);
            put(target + start, records->data[first + i], length);
            put(target + GROUP_HEAD_BYTES + 4 * i, &stop, sizeof stop);
        }
        end = start + length;
    }
    return end;
}

PyDoc_STRVAR(groups_doc,
             "pack_groups(records, group, alignment_log2, /)\n--\n\n"
             "Return records as payloads of groups, the lengths of the records int64[groups, group] and their hashes;\n"
             "None: ask the Python path.");
static PyObject *module_pack_groups(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *list, *payloads = NULL, *lengths = NULL, *hashes = NULL, *result = NULL;
    Py_ssize_t group;
    unsigned log2;
    Given records;
    if (!PyArg_ParseTuple(args, "OnI", &list, &group, &log2)) return NULL;
    if (take_given(list, LARGE_RECORD_BYTES - 1, &records) && !PyErr_Occurred() && group > 0 && group <= MAX_GROUP &&
        log2 <= MOST_ALIGNMENT_LOG2) {
        Py_ssize_t count = (records.count + group - 1) / group;
        payloads = PyList_New(count);
        lengths = PyBytes_FromStringAndSize(NULL, 8 * count * group);
        hashes = PyBytes_FromStringAndSize(NULL, 8 * records.count);
        int is_done = payloads != NULL && lengths != NULL && hashes != NULL;
        for (Py_ssize_t i = 0; is_done && i < count; i++) {
            Py_ssize_t first = i * group, num = records.count - first < group ? records.count - first : group;
            uint64_t size = pack_group(&records, first, num, log2, NULL);
            PyObject *payload = size < LARGE_RECORD_BYTES ? PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size) : NULL;
            is_done = payload != NULL;
            if (is_done) pack_group(&records, first, num, log2, (uint8_t *)PyBytes_AsString(payload));
            if (is_done) PyList_SetItem(payloads, i, payload);
        }
        if (is_done) {
            uint8_t *length = (uint8_t *)PyBytes_AsString(lengths), *hash = (uint8_t *)PyBytes_AsString(hashes);
            memset(length, 0, (size_t)(8 * count * group));
            for (Py_ssize_t i = 0; i < records.count; i++) {
                length = put64(length, records.lengths[i]);
                hash = put64(hash, hash64(records.data[i], records.lengths[i]));
            }
            result = PyTuple_Pack(3, payloads, lengths, hashes);
        }
    }
    Py_XDECREF(payloads);
    Py_XDECREF(lengths);
    Py_XDECREF(hashes);
    free_given(&records);
    return none_unless_raised(result);
}

/* ---- the module -------------------------------------------------------------------------------------------------- */

PyDoc_STRVAR(hash64_doc, "hash64(data, /)\n--\n\nReturn XXH3-64 of bytes, seed 0.");
static PyObject *module_hash64(PyObject *Py_UNUSED(module), PyObject *object) {
    Py_buffer data;
    if (PyObject_GetBuffer(object, &data, PyBUF_SIMPLE) < 0) return NULL;
    uint64_t hash = hash64(data.buf, (size_t)data.len);
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLongLong(hash);
}

static PyMethodDef module_methods[] = {
    {"frame", module_frame, METH_VARARGS, frame_doc},
    {"pack_groups", module_pack_groups, METH_VARARGS, groups_doc},
    {"hash64", module_hash64, METH_O, hash64_doc},
    {NULL, NULL, 0, NULL},
};

static int add_type(PyObject *module, PyType_Spec *spec, const char *name) {
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type == NULL) return -1;
    int result = PyModule_AddObjectRef(module, name, type);
    Py_DECREF(type);
    return result;
}

static int module_exec(PyObject *module) {
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
    /* splitdata/_compiled.py takes no other: a file that was built from an older source stays unused. */
    if (PyModule_AddIntConstant(module, "INTERFACE", 3) < 0) return -1;
    return add_type(module, &frames_spec, "Frames") < 0 || add_type(module, &getter_spec, "Getter") < 0 ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};
PyDoc_STRVAR(module_doc, "The compiled read and write path; see splitdata/_compiled.py.");
static struct PyModuleDef module_def = {PyModuleDef_HEAD_INIT, .m_name = "_speedups", .m_doc = module_doc,
                                        .m_methods = module_methods, .m_slots = module_slots};

PyMODINIT_FUNC PyInit__speedups(void) { return PyModuleDef_Init(&module_def); }
