/* The compiled read and write path: what the Python path does with records of the usual kind, in less time.

   splitdata/_compiled.py owns the switch and says who calls what, _speedups.pyi what each function takes and returns;
   docs/speedups.md tells how to build this file.

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

static inline uint64_t load64(const uint8_t *place) { uint64_t value; return memcpy(&value, place, 8), value; }
static inline uint32_t load32(const uint8_t *place) { uint32_t value; return memcpy(&value, place, 4), value; }

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

static inline uint64_t avalanche(uint64_t hash) { return hash = (hash ^ hash >> 37) * PRIME_MX1, hash ^ hash >> 32; }

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
    uint64_t hash, frame;
    uint32_t length, bin;
} Payload;

typedef struct {
    const uint8_t *data;
    uint8_t *target; /* where it is copied to */
    uint32_t length, payload;
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
    Payload *payloads; /* in one piece with the records */
    Record *records;
    uint32_t *table; /* of groups: their payloads by the numbers of their frames; 0 is none */
    uint32_t num_payloads, mask;
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

/* Find one frame, and say whether it is usual and lies within its bin: FORMAT.md section 9, steps 3 to 7. */
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
    found->frame = frame;
    ONCE(found->hash);
    found->length = (uint32_t)length;
    found->bin = (uint32_t)bin;
    return 1;
}

/* What the head of a group says: its records, where its tables end, at multiples of what items begin. */
typedef struct {
    uint64_t count, tables, step;
    int has_keys;
} Head;

/* Read the head of a group: FORMAT.md section 11; 0: it is none. */
static inline int read_head(const uint8_t *data, uint64_t length, Head *found) {
    if (length < GROUP_HEAD_BYTES) return 0;
    uint64_t head = load64(data);
    ONCE(head);
    uint32_t flags = (uint32_t)(head >> 32);
    if (flags > MOST_GROUP_FLAGS || (flags & 0xff) > MOST_ALIGNMENT_LOG2) return 0;
    found->count = (uint32_t)head;
    found->has_keys = (flags & GROUP_HAS_KEYS) != 0;
    found->tables = GROUP_HEAD_BYTES + found->count * (found->has_keys ? 8 : 4);
    found->step = (uint64_t)1 << (flags & 0xff);
    return found->tables <= length;
}

static inline uint64_t aligned(uint64_t place, uint64_t step) { return (place + step - 1) & ~(step - 1); }

/* Find one record in a group. */
static inline int find_item(const Frames *self, const Payload *group, uint64_t sequence, Record *found) {
    uint32_t size = 1U << self->group_log2, slot = (uint32_t)sequence & (size - 1);
    Head head;
    if (!read_head(group->data, group->length, &head)) return 0;
    /* The last group of what is committed may hold more by now. */
    int is_full = sequence >> self->group_log2 < self->num_records >> self->group_log2;
    uint32_t least = is_full ? size : (uint32_t)self->num_records & (size - 1);
    if (head.count < least || head.count > size || slot >= head.count) return 0;
    uint64_t stop = load32(group->data + GROUP_HEAD_BYTES + 4 * slot);
    uint64_t start = slot ? load32(group->data + GROUP_HEAD_BYTES + 4 * (slot - 1)) : head.tables;
    ONCE(stop);
    ONCE(start);
    start = aligned(start, head.step);
    if (start < head.tables || stop < start || group->length < stop) return 0;
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

/* Find the group of a record among those of the batch, or add it. */
static inline int find_group(const Frames *self, const Map *index, uint64_t frame, Batch *batch, uint32_t *number) {
    uint32_t slot = (uint32_t)(frame * PRIME64_1 >> 32) & batch->mask;
    for (; batch->table[slot]; slot = (slot + 1) & batch->mask) {
        *number = batch->table[slot] - 1;
        if (batch->payloads[*number].frame == frame) return 1;
    }
    if (!find_frame(self, index, frame, LARGE_RECORD_BYTES, &batch->payloads[batch->num_payloads])) return 0;
    batch->num_payload_bytes += batch->payloads[batch->num_payloads].length;
    *number = batch->num_payloads++;
    batch->table[slot] = batch->num_payloads;
    return 1;
}

/* Find the records of a batch; 0 unless all are usual. */
static int find_records(const Frames *self, const Map *index, Batch *batch, const Terms *terms) {
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
                if (!find_group(self, index, sequence >> self->group_log2, batch, &record->payload) ||
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
    PyMem_Free(batch->payloads);
    PyMem_Free(batch->table);
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

/* Take a row of sequence numbers and find their records; 0: ask the Python path, or an exception. */
static int open_batch(Frames *self, PyObject *sequences, const Terms *terms, Batch *batch) {
    int is_found = 0;
    const Map *index = self->index;
    memset(batch, 0, sizeof *batch);
    if (take_sequences(sequences, batch) && index != NULL) {
        size_t count = (size_t)batch->count;
        batch->payloads = PyMem_Malloc((count + 1) * (sizeof(Payload) + sizeof(Record)));
        batch->records = (Record *)(batch->payloads + count + 1);
        while (self->group_log2 && batch->mask < 2 * (uint32_t)count) batch->mask = 2 * batch->mask + 1;
        if (self->group_log2) batch->table = PyMem_Calloc((size_t)batch->mask + 1, sizeof *batch->table);
        if (batch->payloads == NULL || (self->group_log2 && batch->table == NULL)) {
            PyErr_NoMemory();
        } else {
            PyThreadState *state = count >= LONG_WORK_RECORDS ? PyEval_SaveThread() : NULL;
            is_found = find_records(self, index, batch, terms);
            if (state != NULL) PyEval_RestoreThread(state);
        }
    }
    uint64_t most = batch->num_bytes > batch->num_payload_bytes ? batch->num_bytes : batch->num_payload_bytes;
    if (is_found && most <= terms->most_bytes_in_all) return 1;
    return free_batch(batch), 0;
}

/* Copy the records of a batch, and say whether what was copied is proven. A copy comes before its proof: what changes
   in between is found. */
static int copy_proven(const Batch *batch, int verify, int is_grouped) {
    int is_proven = 1;
    for (Py_ssize_t i = 0; i < batch->count; i++) {
        const Record *record = &batch->records[i];
        memcpy(record->target, record->data, record->length);
        if (verify && !is_grouped) is_proven &= hash64(record->target, record->length) == batch->payloads[i].hash;
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

/* Copy if asked to, and prove, without the GIL where that takes long. The caller has begun to use the maps. */
static int fill(const Frames *self, const Batch *batch, int copies, int verify) {
    int is_proven, is_grouped = self->group_log2 > 0;
    int is_long = batch->count >= LONG_WORK_RECORDS || batch->num_bytes + batch->num_payload_bytes >= LONG_WORK_BYTES;
    PyThreadState *state = is_long ? PyEval_SaveThread() : NULL;
    is_proven = !copies || copy_proven(batch, verify, is_grouped);
    if (is_proven && verify && (is_grouped || !copies)) is_proven = are_proven(batch);
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

static PyObject *none_unless_raised(PyObject *result) {
    if (result != NULL || PyErr_Occurred()) return result;
    Py_RETURN_NONE;
}

/* Return one record of a batch as bytes to be filled, or as a view of its map; NULL: there is none any more. */
static PyObject *object_of(const Frames *self, const Batch *batch, Record *record, int as_view) {
    if (!as_view) {
        PyObject *bytes = PyBytes_FromStringAndSize(NULL, record->length);
        record->target = bytes == NULL ? NULL : (uint8_t *)PyBytes_AsString(bytes);
        return bytes;
    }
    const Map *map = self->bins[batch->payloads[record->payload].bin];
    /* It may have been dropped, and mapped anew, while others ran. */
    const uint8_t *data = map == NULL ? NULL : map->buffer.buf;
    if (data == NULL || record->data < data || record->data + record->length > data + map->buffer.len) return NULL;
    return PySequence_GetSlice(map->buffer.obj, record->data - data, record->data - data + record->length);
}

/* Return the records of a batch as copies, or as views of the maps; None: ask the Python path. */
static PyObject *batch_of(PyObject *object, PyObject *const *args, Py_ssize_t num_args, int as_views) {
    Frames *self = (Frames *)object;
    Terms terms;
    Batch batch;
    PyObject *list = NULL;
    if (!parse_terms(args, num_args, 4, &terms)) return NULL;
    /* A view costs no memory, whatever its length. That of a group may be long because one group is read often. */
    if (as_views && !self->group_log2) terms.most_bytes = terms.most_bytes_in_all = INT64_MAX;
    begin_use(self);
    if (open_batch(self, args[0], &terms, &batch)) {
        if (!as_views || fill(self, &batch, 0, terms.verify)) list = PyList_New(batch.count);
        for (Py_ssize_t i = 0; list != NULL && i < batch.count; i++) {
            PyObject *one = object_of(self, &batch, &batch.records[i], as_views);
            if (one == NULL) Py_CLEAR(list);
            else PyList_SetItem(list, i, one);
        }
        if (list != NULL && !as_views && !fill(self, &batch, 1, terms.verify)) Py_CLEAR(list);
        free_batch(&batch);
    }
    end_use(self);
    return none_unless_raised(list);
}

static PyObject *frames_records(PyObject *object, PyObject *const *args, Py_ssize_t num_args) {
    return batch_of(object, args, num_args, 0);
}

static PyObject *frames_views(PyObject *object, PyObject *const *args, Py_ssize_t num_args) {
    return batch_of(object, args, num_args, 1);
}

/* Find one record, not proven; 0: ask the Python path. */
static inline int find_one(const Frames *self, uint64_t sequence, uint64_t most_bytes, Payload *payload,
                           Record *record) {
    uint64_t limit = self->group_log2 || most_bytes >= LARGE_RECORD_BYTES ? LARGE_RECORD_BYTES : most_bytes + 1;
    if (sequence >= self->num_records || self->index == NULL ||
        !find_frame(self, self->index, sequence >> self->group_log2, limit, payload))
        return 0;
    record->data = payload->data;
    record->length = payload->length;
    return !self->group_log2 || (find_item(self, payload, sequence, record) && record->length <= most_bytes);
}

static PyObject *frames_size(PyObject *object, PyObject *number) {
    Payload payload;
    Record record;
    Py_ssize_t sequence = PyLong_AsSsize_t(number);
    if (PyErr_Occurred()) return NULL;
    if (!find_one((Frames *)object, (uint64_t)sequence, INT64_MAX, &payload, &record)) Py_RETURN_NONE;
    return PyLong_FromUnsignedLong(record.length);
}

/* Say whether all records have the length of a row, and which row each is copied into. */
static int are_rows(const Batch *batch, const Py_buffer *rows) {
    Py_ssize_t row_bytes = batch->count ? rows->len / batch->count : 0;
    int are = batch->count && rows->len == row_bytes * batch->count;
    for (Py_ssize_t i = 0; are && i < batch->count; i++) {
        are = batch->records[i].length == row_bytes;
        batch->records[i].target = (uint8_t *)rows->buf + i * row_bytes;
    }
    return are;
}

static PyObject *frames_gather(PyObject *object, PyObject *const *args, Py_ssize_t num_args) {
    Frames *self = (Frames *)object;
    Terms terms;
    Batch batch;
    Py_buffer rows;
    int is_done = 0;
    if (!parse_terms(args, num_args, 5, &terms)) return NULL;
    if (PyObject_GetBuffer(args[1], &rows, PyBUF_CONTIG) < 0) return NULL;
    begin_use(self);
    if (open_batch(self, args[0], &terms, &batch)) {
        is_done = are_rows(&batch, &rows) && fill(self, &batch, 1, terms.verify);
        free_batch(&batch);
    }
    end_use(self);
    PyBuffer_Release(&rows);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(is_done);
}

static PyObject *frames_put(PyObject *object, PyObject *args) {
    Frames *self = (Frames *)object;
    Py_ssize_t number;
    PyObject *view;
    unsigned int sync;
    Map *map = NULL;
    if (!PyArg_ParseTuple(args, "nOI:put", &number, &view, &sync)) return NULL;
    if (number < -1 || number >= (Py_ssize_t)self->num_files)
        return PyErr_Format(PyExc_IndexError, "bin %zd of %u", number, (unsigned)self->num_files);
    if (view != Py_None) {
        if ((map = PyMem_Calloc(1, sizeof *map)) == NULL) return PyErr_NoMemory();
        if (PyObject_GetBuffer(view, &map->buffer, PyBUF_SIMPLE) < 0) return PyMem_Free(map), NULL;
        map->sync = (uint32_t)sync;
    }
    put_map(self, number < 0 ? &self->index : &self->bins[number], map);
    Py_RETURN_NONE;
}

static void free_object(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

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
    if (!find_one(frames, sequence, terms->most_bytes, &payload, &record)) return NULL;
    if (frames->group_log2 && payload.length > MOST_PROVEN_AGAIN) return NULL;
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

static PyMethodDef getter_methods[] = {{"get", getter_get, METH_O, NULL}, {NULL, NULL, 0, NULL}};

static PyType_Slot getter_slots[] = {
    {Py_tp_dealloc, getter_dealloc},
    {Py_tp_methods, getter_methods},
    {0, NULL},
};
static PyType_Spec getter_spec = {"splitdata._speedups.Getter", sizeof(Getter), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, getter_slots};

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

/* ---- the type of Frames ------------------------------------------------------------------------------------------ */

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

static void frames_dealloc(PyObject *object) {
    Frames *self = (Frames *)object;
    for (uint32_t i = 0; self->bins != NULL && i < self->num_files; i++) free_map(self->bins[i]);
    PyMem_Free(self->bins);
    free_map(self->index);
    free_object(object);
}

static PyMethodDef frames_methods[] = {
    {"getter", frames_getter, METH_VARARGS, NULL},
    {"records", (PyCFunction)(void (*)(void))frames_records, METH_FASTCALL, NULL},
    {"views", (PyCFunction)(void (*)(void))frames_views, METH_FASTCALL, NULL},
    {"gather", (PyCFunction)(void (*)(void))frames_gather, METH_FASTCALL, NULL},
    {"size", frames_size, METH_O, NULL},
    {"put", frames_put, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot frames_slots[] = {
    {Py_tp_new, frames_new},
    {Py_tp_dealloc, frames_dealloc},
    {Py_tp_methods, frames_methods},
    {0, NULL},
};
static PyType_Spec frames_spec = {"splitdata._speedups.Frames", sizeof(Frames), 0, Py_TPFLAGS_DEFAULT, frames_slots};

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* A list of bytes, held: another thread may change the list meanwhile. */
typedef struct {
    PyObject *held;
    Py_ssize_t count;
    const uint8_t **data;
    uint32_t *lengths;
    uint64_t num_bytes, longest, num_filled; /* of all together, of one; how many are not empty */
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
        if (i + AHEAD < given->count) PREFETCH(PyList_GetItem(given->held, i + AHEAD));
        if (!PyBytes_CheckExact(one) || (uint64_t)PyBytes_Size(one) > most) return 0;
        given->data[i] = (const uint8_t *)PyBytes_AsString(one);
        given->lengths[i] = (uint32_t)PyBytes_Size(one);
        given->num_bytes += given->lengths[i];
        given->longest = given->lengths[i] > given->longest ? given->lengths[i] : given->longest;
        given->num_filled += given->lengths[i] > 0;
    }
    return 1;
}

static inline uint8_t *put(uint8_t *target, const void *data, size_t n) { return memcpy(target, data, n), target + n; }

static inline uint8_t *put64(uint8_t *target, uint64_t value) { return put(target, &value, sizeof value); }

/* FORMAT.md section 8. */
static inline uint64_t first_word(uint64_t salt, uint64_t offset, const uint64_t *words) {
    static const uint64_t factors[3] = {0xc90fdaa22168c235ULL, 0xa4093822299f31d1ULL, 0x452821e638d01377ULL};
    uint64_t x = salt ^ offset * 0x9e3779b97f4a7c15ULL;
    for (int i = 0; i < 3; i++) x = (x ^ x >> 32 ^ words[i]) * factors[i];
    return (salt & 0xffffffff) | 1 | x >> 32 << 32;
}

/* Modulo 2**61 - 1, loosely: FORMAT.md section 5. */
static inline uint64_t reduced(uint64_t number) { return (number & ((1ULL << 61) - 1)) + (number >> 61); }

static inline uint64_t joined(uint64_t digest, uint64_t factor, uint64_t share) {
    __uint128_t product = (__uint128_t)digest * factor;
    return reduced(reduced(((uint64_t)product & ((1ULL << 61) - 1)) + (uint64_t)(product >> 61)) + share);
}

/* One column of a chunk: the frames that go to one bin, one behind the other. */
typedef struct {
    uint64_t bin, salt, offset;
    uint64_t end; /* of the last frame, without padding; of all of them, before they are written */
    uint8_t *target;
} Column;

/* A chunk of records, and where what is made of it goes. */
typedef struct {
    Given records, keys;
    Column *columns;
    Py_ssize_t num_columns, num_frames;
    unsigned long long kind, sequence, alignment, group, log2, factor;
    uint64_t digest, num_stored;
    uint8_t *entries, *key_hashes;
} Chunk;

/* Lay out one payload: a record, or a group of them without keys, FORMAT.md section 11, which are counted, and of which
   `lengths` gets theirs, zeros behind the last. The target is NULL for the length of the payload alone. */
static uint64_t put_payload(Chunk *chunk, Py_ssize_t number, uint8_t *target, uint8_t *lengths) {
    const Given *records = &chunk->records;
    Py_ssize_t group = (Py_ssize_t)chunk->group, first = number * group, left = records->count - first;
    if (group == 1) {
        if (target != NULL) memcpy(target, records->data[first], records->lengths[first]);
        return records->lengths[first];
    }
    Py_ssize_t count = left < group ? left : group;
    uint64_t end = GROUP_HEAD_BYTES + 4 * (uint64_t)count, step = (uint64_t)1 << chunk->log2;
    if (target != NULL) put64(target, (uint64_t)count | chunk->log2 << 32);
    for (Py_ssize_t i = 0; i < count; i++) {
        uint64_t start = aligned(end, step), length = records->lengths[first + i], stop = start + length;
        if (target != NULL) {
            memset(target + end, 0, start - end);
            memcpy(target + start, records->data[first + i], length);
            put(target + GROUP_HEAD_BYTES + 4 * i, &stop, 4);
            put(lengths + 4 * i, &length, 4);
            chunk->digest = joined(chunk->digest, chunk->factor, reduced(hash64(target + start, length)) + 1);
        }
        end = stop;
    }
    if (target != NULL) memset(lengths + 4 * count, 0, 4 * (size_t)(group - count));
    return end;
}

static uint64_t frame_bytes(Chunk *chunk, Py_ssize_t i) {
    uint32_t key = chunk->keys.count ? chunk->keys.lengths[i] : 0;
    return FRAME_HEADER_BYTES + put_payload(chunk, i, NULL, NULL) + (key ? key + 8 : 0);
}

static void write_frames(Chunk *chunk) {
    uint64_t entry_bytes = chunk->group > 1 ? 16 + 4 * chunk->group : 16;
    for (Py_ssize_t i = 0; i < chunk->num_frames; i++, chunk->entries += entry_bytes) {
        Column *column = &chunk->columns[i % chunk->num_columns];
        uint64_t key_length = chunk->keys.count ? chunk->keys.lengths[i] : 0;
        uint8_t *payload = column->target + FRAME_HEADER_BYTES;
        uint64_t length = put_payload(chunk, i, payload, chunk->entries + 16), hash = hash64(payload, length);
        uint64_t sequence = chunk->sequence + (uint64_t)i, lengths = length | length << 32;
        uint64_t words[3] = {hash, sequence | chunk->kind << 32 | key_length << 48, lengths};
        put(put64(column->target, first_word(column->salt, column->offset, words)), words, sizeof words);
        uint8_t *end = payload + length;
        if (key_length) {
            uint64_t key_hash = hash64(chunk->keys.data[i], key_length);
            end = put64(put(end, chunk->keys.data[i], key_length), key_hash);
            chunk->key_hashes = put64(chunk->key_hashes, key_hash);
        }
        uint64_t size = (uint64_t)(end - column->target), padding = (0 - size) & (chunk->alignment - 1);
        memset(end, 0, padding);
        if (chunk->group == 1) chunk->digest = joined(chunk->digest, chunk->factor, reduced(hash) + 1);
        chunk->num_stored += length;
        put64(put64(chunk->entries, column->bin << BIN_SHIFT | column->offset / 8), lengths);
        column->end = column->offset + size;
        column->offset += size + padding;
        column->target = end + padding;
    }
}

/* Return room for each column, as a list of bytes; NULL, with an exception if there is none. */
static PyObject *parts_of(Chunk *chunk) {
    for (Py_ssize_t i = 0; i < chunk->num_frames; i++) {
        uint64_t size = frame_bytes(chunk, i);
        if (chunk->group > 1 && size >= LARGE_RECORD_BYTES + FRAME_HEADER_BYTES) return NULL;
        chunk->columns[i % chunk->num_columns].end += aligned(size, chunk->alignment);
    }
    PyObject *parts = PyList_New(chunk->num_columns);
    for (Py_ssize_t i = 0; parts != NULL && i < chunk->num_columns; i++) {
        PyObject *part = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)chunk->columns[i].end);
        if (part == NULL) return Py_DECREF(parts), NULL;
        chunk->columns[i].target = (uint8_t *)PyBytes_AsString(part);
        PyList_SetItem(parts, i, part);
    }
    return parts;
}

static PyObject *module_frame(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *records, *keys, *parts = NULL;
    unsigned long long most_mean;
    Py_buffer outputs[3]; /* columns, which say where to begin; entries, hashes of keys */
    Chunk chunk;
    memset(&chunk, 0, sizeof chunk);
    if (!PyArg_ParseTuple(args, "OO(KKKKKKK)w*w*w*:frame", &records, &keys, &chunk.kind, &chunk.sequence,
                          &chunk.alignment, &chunk.group, &chunk.log2, &chunk.factor, &most_mean, &outputs[0],
                          &outputs[1], &outputs[2]))
        return NULL;
    uint8_t *places = outputs[0].buf;
    chunk.num_columns = outputs[0].len / 24;
    chunk.entries = outputs[1].buf;
    chunk.key_hashes = outputs[2].buf;
    chunk.columns = PyMem_Calloc((size_t)chunk.num_columns + 1, sizeof(Column));
    for (Py_ssize_t i = 0; chunk.columns != NULL && i < chunk.num_columns; i++)
        memcpy(&chunk.columns[i], places + 24 * i, 24);
    int is_usual = chunk.columns != NULL && take_given(records, LARGE_RECORD_BYTES - 1, &chunk.records) &&
                   (keys == Py_None || take_given(keys, 0xffff, &chunk.keys));
    is_usual = is_usual && !PyErr_Occurred() && chunk.group && chunk.group <= MAX_GROUP;
    Py_ssize_t count = chunk.records.count, group = is_usual ? (Py_ssize_t)chunk.group : 1;
    chunk.num_frames = (count + group - 1) / group;
    is_usual = is_usual && chunk.log2 <= MOST_ALIGNMENT_LOG2 && chunk.num_frames >= chunk.num_columns &&
               chunk.num_columns && chunk.alignment && !(chunk.alignment & (chunk.alignment - 1)) &&
               chunk.records.num_bytes < most_mean * (uint64_t)count &&
               (keys == Py_None || (chunk.keys.count == count && group == 1)) &&
               outputs[1].len == (group > 1 ? 16 + 4 * group : 16) * chunk.num_frames &&
               outputs[2].len == 8 * (Py_ssize_t)chunk.keys.num_filled;
    if (is_usual && (parts = parts_of(&chunk)) != NULL) {
        Py_BEGIN_ALLOW_THREADS
        write_frames(&chunk);
        Py_END_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < chunk.num_columns; i++) put64(places + 24 * i + 16, chunk.columns[i].end);
        parts = Py_BuildValue("NKKKK", parts, chunk.digest, chunk.num_stored, chunk.records.num_bytes,
                              chunk.records.longest);
    }
    free_given(&chunk.records);
    free_given(&chunk.keys);
    PyMem_Free(chunk.columns);
    for (int i = 0; i < 3; i++) PyBuffer_Release(&outputs[i]);
    return none_unless_raised(parts);
}

/* Return how many bytes objects of a list have together, and the longest of them. */
static PyObject *module_sizes(PyObject *Py_UNUSED(module), PyObject *list) {
    unsigned long long total = 0, longest = 0;
    for (Py_ssize_t i = 0, count = PyList_CheckExact(list) ? PyList_Size(list) : -1; i < count || count < 0; i++) {
        PyObject *one = count < 0 ? NULL : PyList_GetItem(list, i);
        if (i + AHEAD < count) PREFETCH(PyList_GetItem(list, i + AHEAD));
        if (one == NULL || !PyBytes_CheckExact(one)) Py_RETURN_NONE;
        unsigned long long size = (unsigned long long)PyBytes_Size(one);
        total += size;
        longest = size > longest ? size : longest;
    }
    return Py_BuildValue("KK", total, longest);
}

/* ---- verifying --------------------------------------------------------------------------------------------------- */

/* A run of frames of one bin, end to end, of which the first are proven. */
typedef struct {
    const uint8_t *data; /* of the bin, from byte `base` on */
    uint64_t num_bytes;
    unsigned long long base, end; /* the latter: of the last frame that is proven */
    unsigned long long bin, salt, alignment, group;
    unsigned long long factor, factor_of_frame; /* of the digest, for one record behind, and for those of a frame */
    unsigned long long digest;
    uint64_t num_keys, key_sum;
} Run;

static int are_zeros(const uint8_t *data, uint64_t length) {
    uint8_t any = 0;
    for (uint64_t i = 0; i < length; i++) any |= data[i];
    return !any;
}

/* Say whether bytes are UTF-8, as Python decodes it. */
static int is_text(const uint8_t *data, uint64_t length) {
    for (uint64_t i = 0; i < length;) {
        while (length - i >= 8 && !(load64(data + i) & 0x8080808080808080ULL)) i += 8;
        if (i == length || data[i++] < 0x80) continue;
        uint8_t lead = data[i - 1], least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint64_t num_more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
        if (lead < 0xc2 || lead > 0xf4 || length - i < num_more) return 0;
        if (data[i] < least || data[i] > (lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf)) return 0;
        for (; num_more; num_more--)
            if ((data[i++] & 0xc0) != 0x80) return 0;
    }
    return 1;
}

/* Count a key, as keys/key_sum.py does. */
static int count_key(Run *run, const uint8_t *key, uint64_t length, uint64_t hash, uint64_t sequence) {
    uint64_t mixed = hash ^ sequence * 0x9e3779b97f4a7c15ULL;
    mixed = (mixed ^ mixed >> 32) * 0xc90fdaa22168c235ULL;
    run->key_sum += mixed ^ mixed >> 29;
    run->num_keys++;
    return is_text(key, length);
}

/* Look into a group that is proven: it must be as a writer makes it, and its records as long as the index says. */
static int look_into_group(Run *run, const uint8_t *data, uint64_t length, uint64_t frame, const int64_t *lengths) {
    Head head;
    if (!read_head(data, length, &head) || head.count != run->group) return 0;
    uint64_t end = head.tables, share = 0;
    const uint8_t *ends = data + GROUP_HEAD_BYTES;
    for (uint64_t i = 0; i < head.count; i++, ends += 4) {
        uint64_t start = aligned(end, head.step), stop = load32(ends);
        if (stop < start || length < stop || stop - start != (uint64_t)lengths[i]) return 0;
        if (!are_zeros(data + end, start - end)) return 0;
        share = joined(share, run->factor, reduced(hash64(data + start, stop - start)) + 1);
        end = stop;
    }
    for (uint64_t i = 0; head.has_keys && i < head.count; i++, ends += 4) {
        uint64_t start = end, size = load32(ends) - start;
        if (load32(ends) < start || length < start + size || size > 0xffff) return 0;
        uint64_t hash = hash64(data + start, size);
        if (size && !count_key(run, data + start, size, hash, frame * run->group + i)) return 0;
        end = start + size;
    }
    run->digest = joined(run->digest, run->factor_of_frame, share);
    return end == length;
}

/* Prove the next frame; 0: it is not usual, or wrong, or not all there, and what was counted is void. */
static int prove_frame(Run *run, uint64_t frame, const uint8_t *entry, const int64_t *lengths) {
    uint64_t sizes = load64(entry + 8), length = sizes >> 32, kind = run->group > 1 ? (uint64_t)KIND_GROUP << 32 : 0;
    uint64_t offset = aligned(run->end + FRAME_HEADER_BYTES, run->alignment) - FRAME_HEADER_BYTES;
    uint64_t start = offset - run->base + FRAME_HEADER_BYTES, stop = start + length;
    if (load64(entry) != (run->bin << BIN_SHIFT | offset / 8) || (sizes & 0xffffffff) != length) return 0;
    if (length >= LARGE_RECORD_BYTES || stop > run->num_bytes || frame >= 0xffffffff) return 0;
    const uint8_t *payload = run->data + start, *header = payload - FRAME_HEADER_BYTES;
    uint64_t words[3] = {load64(header + 8), load64(header + 16), load64(header + 24)}, key_length = words[1] >> 48;
    if (load64(header) != first_word(run->salt, offset, words) || words[2] != sizes) return 0;
    if ((words[1] & WITHOUT_KEY) != (frame | kind) || !are_zeros(run->data + (run->end - run->base), offset - run->end))
        return 0;
    if (hash64(payload, length) != words[0]) return 0;
    run->end = run->base + stop;
    if (kind) return !key_length && look_into_group(run, payload, length, frame, lengths);
    if (key_length) {
        if (key_length + 8 > run->num_bytes - stop) return 0;
        const uint8_t *key = payload + length;
        uint64_t hash = hash64(key, key_length);
        if (load64(key + key_length) != hash || !count_key(run, key, key_length, hash, frame)) return 0;
        run->end += key_length + 8;
    }
    run->digest = joined(run->digest, run->factor_of_frame, reduced(words[0]) + 1);
    return 1;
}

static PyObject *module_prove(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer data, frames, entries, lengths;
    Run run;
    memset(&run, 0, sizeof run);
    if (!PyArg_ParseTuple(args, "y*y*y*y*(KKKKKKKKK):prove", &data, &frames, &entries, &lengths, &run.base, &run.end,
                          &run.bin, &run.salt, &run.alignment, &run.group, &run.factor, &run.factor_of_frame,
                          &run.digest))
        return NULL;
    Py_ssize_t count = 0, most = frames.len / 8;
    run.data = data.buf;
    run.num_bytes = (uint64_t)data.len;
    int is_usual = run.base <= run.end && run.end - run.base <= run.num_bytes && run.bin < MAX_BINS && run.alignment &&
                   !(run.alignment & (run.alignment - 1)) && run.group && run.group <= MAX_GROUP &&
                   entries.len >= 16 * most && (run.group == 1 || lengths.len >= 8 * (Py_ssize_t)run.group * most);
    Py_BEGIN_ALLOW_THREADS
    for (; is_usual && count < most; count++) {
        Run before = run;
        uint64_t frame = load64((const uint8_t *)frames.buf + 8 * count);
        const int64_t *of_records = run.group > 1 ? (const int64_t *)lengths.buf + (uint64_t)count * run.group : NULL;
        if (!prove_frame(&run, frame, (const uint8_t *)entries.buf + 16 * count, of_records)) {
            run = before;
            break;
        }
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&data);
    PyBuffer_Release(&frames);
    PyBuffer_Release(&entries);
    PyBuffer_Release(&lengths);
    return Py_BuildValue("nKKKK", count, run.end, run.digest, run.num_keys, run.key_sum);
}

/* ---- the module -------------------------------------------------------------------------------------------------- */

static PyObject *module_hash64(PyObject *Py_UNUSED(module), PyObject *object) {
    Py_buffer data;
    if (PyObject_GetBuffer(object, &data, PyBUF_SIMPLE) < 0) return NULL;
    uint64_t hash = hash64(data.buf, (size_t)data.len);
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLongLong(hash);
}

static PyMethodDef module_methods[] = {
    {"frame", module_frame, METH_VARARGS, NULL},
    {"sizes", module_sizes, METH_O, NULL},
    {"prove", module_prove, METH_VARARGS, NULL},
    {"hash64", module_hash64, METH_O, NULL},
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
    if (PyModule_AddIntConstant(module, "INTERFACE", 7) < 0) return -1;
    return add_type(module, &frames_spec, "Frames") < 0 || add_type(module, &getter_spec, "Getter") < 0 ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};
static struct PyModuleDef module_def = {PyModuleDef_HEAD_INIT, .m_name = "_speedups",
                                        .m_methods = module_methods, .m_slots = module_slots};

PyMODINIT_FUNC PyInit__speedups(void) { return PyModuleDef_Init(&module_def); }
