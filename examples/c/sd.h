/* splitdata datasets: a reader, written from FORMAT.md alone. */
#ifndef SD_H
#define SD_H
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t i64;
typedef unsigned __int128 u128;

enum err {
    OK = 0, NOT_FOUND, MANIFEST, UNSUPPORTED, FORMAT, TRUNCATED, MISSING_BIN, CORRUPT, TOO_LARGE, DELETED,
    NO_POSITION, /* asked for a position that no record has */
    ABSENT,      /* internal: there is no such file */
    IO           /* the system refused */
};
const char *err_name(int e);

#define MAX_MANIFEST_BYTES 16777216u
#define MAX_METADATA_BYTES 1048576u
#define MAX_METADATA_DEPTH 100u
#define MAX_SEGMENTS 10000u
#define MAX_GENERATION 9999999999ull
#define MAX_SEGMENT_RECORDS 4294967294ull
#define MAX_BINS 16777216u
#define MAX_GROUP 65536u
#define MAX_SCHEMAS 4096u
#define MAX_SCHEMAS_BYTES 4194304u
#define MAX_SEGMENT_SCHEMAS 1024u
#define MAX_DICTIONARY_BYTES 16777216u
#define MAX_COMPRESSED_RAW_BYTES 1073741824u
#define MAX_WINDOW_BYTES 134217728u
#define LARGE_RECORD_BYTES 16777216u
#define BLOCK_BYTES 1048576u
#define LENGTH_ESCAPE 0xffffffffu
#define CONTROL_SEQUENCE 0xffffffffu
#define TOMBSTONE 0xffffffffffffffffull
#define SUM_BYTES 65536u
#define MAX_KEY_BYTES 65535u
#define KEYS_PER_BLOCK 1024u
#define MAX_KEY_RUNS 65536u
#define DIGEST_P ((1ull << 61) - 1)
#define OWN_LIMIT 1073741824ull /* this reader returns no longer record as a whole */

/* ---- util.c */
typedef struct { u8 *p; size_t n, cap; } buf;
void *xrealloc(void *p, size_t n);
void buf_room(buf *b, size_t more);
void buf_put(buf *b, const void *p, size_t n);
void buf_c(buf *b, u8 c);
void buf_s(buf *b, const char *s);
void buf_f(buf *b, const char *f, ...) __attribute__((format(printf, 2, 3)));
void buf_hex(buf *b, const u8 *p, size_t n);
void buf_free(buf *b);
u16 le16(const u8 *p);
u32 le32(const u8 *p);
u64 le64(const u8 *p);
u64 hash64(const void *p, size_t n);
bool all_zero(const u8 *p, size_t n);
bool hex_text(const u8 *p, size_t n, size_t want, u64 *value); /* lower-case digits, exactly want */
enum { UTF8_STRICT, UTF8_SURROGATES };
bool utf8_valid(const u8 *p, size_t n, int how);
size_t utf8_count(const u8 *p, size_t n);
u64 mul_p(u64 a, u64 b);
u64 pow_b(u64 n);
u64 digest_add(u64 d, u64 h);
u64 digest_join(u64 a, u64 c, u64 n);
typedef struct { u32 h[8]; u64 n; u8 b[64]; unsigned k; } sha256;
void sha256_init(sha256 *s);
void sha256_add(sha256 *s, const void *p, size_t n);
void sha256_end(sha256 *s, u8 out[32]);
bool base64(const u8 *p, size_t n, buf *out);

/* ---- json.c */
enum { J_NULL, J_FALSE, J_TRUE, J_INT, J_FLOAT, J_TEXT, J_ARRAY, J_OBJECT };
typedef struct { u32 type, off, len, next; } jnode; /* next: the node behind this and all within it */
typedef struct { const u8 *s; size_t n; jnode *v; u32 count, cap; } json;
bool json_parse(json *j, const u8 *s, size_t n, unsigned max_depth);
void json_free(json *j);
u32 json_get(const json *j, u32 object, const char *key); /* 0 if it is not there (node 0 is the root) */
u32 json_at(const json *j, u32 array, u32 i);
u32 json_count(const json *j, u32 node);
bool json_int(const json *j, u32 node, i64 *out);
double json_double(const json *j, u32 node);
void json_text(const json *j, u32 node, buf *out); /* WTF-8 */
bool json_is(const json *j, u32 node, const char *text);
unsigned json_depth(const json *j, u32 node);
u64 json_bytes(const json *j, u32 node); /* as MAX_METADATA_BYTES counts */
void json_shown(const json *j, u32 node, buf *out, bool canonical);
void put_text(buf *out, const u8 *p, size_t n); /* WTF-8 as a JSON text */

/* ---- reader.c */
typedef struct { int fd; u64 size; } file;
typedef struct { u8 *p; u32 n; void *parsed; int parse_err; bool tried; } schema_bytes;

typedef struct {
    char id[33];
    u8 idb[16];
    u64 records, digest, raw_bytes, stored_bytes, first;
    u32 bins, group; /* group 0: none */
    bool sealed, has_keys, has_deleted, has_schemas;
    u64 keys, keys_bytes, deleted, deleted_hash;
    u32 *schemas, nschemas;
    char *unknown; /* a feature that we do not know */
    bool del_loaded; int del_err; u32 *del; u64 ndel;
    bool dict_loaded; int dict_err; ZSTD_DDict *dict; u32 dict_id; u8 *dict_bytes; size_t dict_n; bool dict_from_index;
} seg;

typedef struct { bool used; u32 seg; i64 which; file f; int err; bool intact; u32 have; u8 hdr[128]; } cfile;
#define CACHE 64
typedef struct {
    int dirfd, segments_fd;
    u64 generation, records;
    unsigned major, minor;
    char dataset[33];
    u8 *line; /* line 1 */
    json j;
    u32 metadata;
    schema_bytes *schemas; u32 nschemas;
    i64 schema; /* declared, or -1 */
    char codec[32]; bool has_codec;
    seg *segs; u32 nsegs;
    cfile cache[CACHE];
    bool g_valid; u32 g_seg; u64 g_f; buf g_raw;
    ZSTD_DCtx *dctx;
} ds;

int sd_open(ds *d, const char *path);
void sd_close(ds *d);
int sd_read(ds *d, u64 p, buf *out);
int sd_range(ds *d, u64 p, u64 start, u64 stop, buf *out);
int sd_key(ds *d, u64 p, buf *out, bool *has);
int sd_find(ds *d, const u8 *key, size_t n, u64 *p, bool *found);
int sd_length(ds *d, u64 p, u64 *n);
seg *sd_segment(ds *d, u64 p);
void sd_fingerprint(ds *d, buf *out);
int sd_sha256(ds *d, u8 out[32]);
int sd_deleted(ds *d, seg *s); /* loads the list */
bool is_deleted(const seg *s, u64 n);
void lists_of_schemas(ds *d, buf *out, bool *any);

/* parts that verifying needs too */
enum { F_INDEX = -1, F_KEYS = -2, F_KEYS_OPEN = -3, F_DELETED = -4, F_SCHEMAS = -5 };
int open_file(ds *d, const seg *s, i64 which, file *f);
int get_file(ds *d, seg *s, i64 which, cfile **out);
bool read_at(const file *f, u64 off, void *p, u64 n);
extern const u8 MAGICS[5][8]; /* B I K X T */
typedef struct { bool magic_hash, intact; int err; } hdr_result;
hdr_result check_header(const u8 *h, u32 have, char kind, const seg *s, i64 bin);
u64 frames_of(const seg *s);
u64 stride_of(const seg *s);
static inline u64 align_up(u64 x, u64 a) { return (x + a - 1) / a * a; }
static inline u64 next_frame(u64 e, u64 h, u64 a) { return align_up(e + h, a) - h; }
u64 bin_salt(const seg *s, u32 bin);
u32 header_check(u64 salt, u64 off, const u8 *h, unsigned words);

typedef struct {
    seg *s; u64 n, f; u32 bin; file bf;
    u64 off, stored, raw, pay, blocks, bh, after; /* after: where a key would begin */
    u32 hdr_bytes; u8 kind, codec; u16 key_length; u8 h[64];
} frame;
int locate(ds *d, seg *s, u64 f, frame *fr);
int stored_payload(const frame *fr, buf *out, u64 *raw_hash); /* raw_hash: stream only, CODEC_NONE */
int raw_payload(ds *d, frame *fr, buf *out);
typedef struct { u32 count; unsigned a; bool keys; u64 tables; } group_head;
int group_check(const seg *s, u64 f, const buf *raw, group_head *g);
int group_item(const buf *raw, const group_head *g, u32 i, u64 *from, u64 *to);
int group_key(const buf *raw, const group_head *g, u32 i, u64 *from, u64 *to);
int frame_key(ds *d, frame *fr, buf *out, bool *has);
typedef struct { u64 offset, keys, fences_hash, blocks, fences, end; } key_run;
typedef struct { u64 begin, end, total; u32 nruns; key_run *runs; } key_dir;
bool key_directory(const file *f, u64 end, key_dir *k);
int dictionary(ds *d, seg *s);
bool control_valid(const u8 *h);

/* ---- sample.c */
int sample_json(ds *d, seg *s, const u8 *p, size_t n, buf *out);
void schema_free(void *parsed);

/* ---- verify.c */
u64 sd_verify(ds *d, FILE *say); /* how many findings */
#endif
