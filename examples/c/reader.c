#include "sd.h"
#include <dirent.h>

const u8 MAGICS[5][8] = {"\x89SDB\r\n\x1a\n", "\x89SDI\r\n\x1a\n", "\x89SDK\r\n\x1a\n", "\x89SDX\r\n\x1a\n", "\x89SDT\r\n\x1a\n"};

/* ---- files */
bool read_at(const file *f, u64 off, void *p, u64 n)
{
    if (off > f->size || n > f->size - off) return false;
    u8 *q = p;
    while (n) {
        ssize_t k = pread(f->fd, q, n, (off_t)off);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return false;
        q += k; off += (u64)k; n -= (u64)k;
    }
    return true;
}

/* A regular file, never a link, never blocking. */
static int open_regular(int at, const char *name, file *f)
{
    f->fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (f->fd < 0) return errno == ENOENT ? ABSENT : errno == ELOOP || errno == ENXIO || errno == ENODEV || errno == ENOTDIR ? FORMAT : IO;
    struct stat st;
    if (fstat(f->fd, &st) < 0 || !S_ISREG(st.st_mode)) { close(f->fd); f->fd = -1; return FORMAT; }
    f->size = (u64)st.st_size;
    return OK;
}
static int open_folder(int at, const char *name, int *fd)
{
    *fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*fd >= 0) return OK;
    return errno == ENOENT ? ABSENT : errno == ELOOP || errno == ENOTDIR ? FORMAT : IO;
}

int open_file(ds *d, const seg *s, i64 which, file *f)
{
    int fd, e;
    f->fd = -1;
    if (d->segments_fd < 0 && (e = open_folder(d->dirfd, "segments", &d->segments_fd))) { d->segments_fd = -1; return e; }
    if ((e = open_folder(d->segments_fd, s->id, &fd))) return e;
    char name[64];
    switch (which) {
    case F_INDEX: strcpy(name, "index"); break;
    case F_KEYS: strcpy(name, "keys"); break;
    case F_KEYS_OPEN: strcpy(name, "keys.open"); break;
    case F_DELETED: snprintf(name, sizeof name, "deleted.%016" PRIx64, s->deleted_hash); break;
    case F_SCHEMAS: strcpy(name, "schemas"); break;
    default: snprintf(name, sizeof name, "%06" PRId64 ".bin", which);
    }
    e = open_regular(fd, name, f);
    close(fd);
    return e;
}

/* Section 7: what is checked of a header with right magic and hash. */
hdr_result check_header(const u8 *h, u32 have, char kind, const seg *s, i64 bin)
{
    hdr_result r = {false, false, OK};
    u32 n = kind == 'I' ? 128 : 64;
    const u8 *m = MAGICS[kind == 'B' ? 0 : kind == 'I' ? 1 : kind == 'K' ? 2 : kind == 'X' ? 3 : 4];
    if (have < n || memcmp(h, m, 8) || le64(h + n - 8) != hash64(h, n - 8)) return r;
    r.magic_hash = true;
    u32 must = le32(h + (kind == 'B' ? 40 : 32));
    r.intact = true;
    if (kind == 'I' || kind == 'B') {
        u8 al = h[kind == 'I' ? 60 : 48], gl = h[kind == 'I' ? 101 : 50];
        if (al < 3 || al > 12) r.intact = false;
        if (must & 1 ? gl < 1 || gl > 16 : gl != 0) r.intact = false;
        if (kind == 'I' && (le64(h + 40) > MAX_SEGMENT_RECORDS || le32(h + 56) < 1 || le32(h + 56) > MAX_BINS)) r.intact = false;
    }
    if (le16(h + 8) != 1) { r.err = UNSUPPORTED; return r; }
    if (must & ~1u) { r.err = UNSUPPORTED; return r; }
    if (r.intact && s && memcmp(h + 16, s->idb, 16)) r.err = FORMAT;
    if (r.intact && s && kind == 'B' && le32(h + 32) != bin) r.err = FORMAT;
    return r;
}

int get_file(ds *d, seg *s, i64 which, cfile **out)
{
    u32 si = (u32)(s - d->segs);
    cfile *c = &d->cache[((u64)si * 7 + (u64)(which + 8)) % CACHE];
    if (!(c->used && c->seg == si && c->which == which)) {
        if (c->used) { close(c->f.fd); c->used = false; }
        int e = open_file(d, s, which, &c->f);
        if (e) return e;
        c->used = true; c->seg = si; c->which = which;
        u32 n = which == F_INDEX ? 128 : 64;
        c->have = c->f.size < n ? (u32)c->f.size : n;
        if (!read_at(&c->f, 0, c->hdr, c->have)) c->have = 0;
        hdr_result r = check_header(c->hdr, c->have, which == F_INDEX ? 'I' : 'B', s, which);
        c->err = r.err; c->intact = r.intact;
    }
    *out = c;
    return c->err;
}

/* ---- manifest */
static bool form_of_features(const json *j, u32 node)
{
    if (!node || j->v[node].type != J_ARRAY) return false;
    for (u32 k = node + 1; k < j->v[node].next; k = j->v[k].next) if (j->v[k].type != J_TEXT) return false;
    return true;
}
static bool ranged(const json *j, u32 node, u64 lo, u64 hi, u64 *out)
{
    i64 v;
    if (!node || !json_int(j, node, &v) || v < 0 || (u64)v < lo || (u64)v > hi) return false;
    *out = (u64)v;
    return true;
}
static bool hex_field(const json *j, u32 node, size_t n, char *text, u64 *value)
{
    if (!node || j->v[node].type != J_TEXT) return false;
    buf b = {0};
    json_text(j, node, &b);
    bool ok = hex_text(b.p, b.n, n, value);
    if (ok && text) { memcpy(text, b.p, n); text[n] = 0; }
    buf_free(&b);
    return ok;
}
static bool short_text(const json *j, u32 node)
{
    if (!node) return true;
    if (j->v[node].type != J_TEXT) return false;
    buf b = {0};
    json_text(j, node, &b);
    bool ok = utf8_count(b.p, b.n) <= 200;
    buf_free(&b);
    return ok;
}
static bool known_key(const json *j, u32 k, const char *const *names)
{
    for (; *names; names++) if (json_is(j, k, *names)) return true;
    return false;
}
static bool unknown_depths(const json *j, u32 object, const char *const *names)
{
    for (u32 k = object + 1; k < j->v[object].next; k = j->v[k + 1].next)
        if (j->v[k + 1].type >= J_ARRAY && !known_key(j, k, names) && json_depth(j, k + 1) > MAX_METADATA_DEPTH) return false;
    return true;
}
static int cmp_schema(const void *a, const void *b)
{
    const schema_bytes *x = *(schema_bytes *const *)a, *y = *(schema_bytes *const *)b;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return memcmp(x->p, y->p, x->n);
}
static int cmp_id(const void *a, const void *b) { return strcmp((*(seg *const *)a)->id, (*(seg *const *)b)->id); }
static int cmp_u32(const void *a, const void *b) { u32 x = *(const u32 *)a, y = *(const u32 *)b; return (x > y) - (x < y); }

static const char *const TOP[] = {"format", "version", "generation", "dataset", "must_understand", "writer", "time", "metadata", "schemas", "schema", "segments", NULL};
static const char *const SEG[] = {"id", "records", "bins", "sealed", "digest", "raw_bytes", "stored_bytes", "group", "keys", "keys_bytes", "schemas", "deleted", "deleted_hash", "must_understand", NULL};

static bool schemas_field(ds *d, u32 node)
{
    const json *j = &d->j;
    if (!node) return true;
    if (j->v[node].type != J_ARRAY) return false;
    u64 total = 0;
    for (u32 k = node + 1; k < j->v[node].next; k = j->v[k].next) {
        if (j->v[k].type != J_TEXT || d->nschemas == MAX_SCHEMAS) return false;
        if (!(d->nschemas & (d->nschemas + 1)) || !d->schemas) d->schemas = xrealloc(d->schemas, (2u * d->nschemas + 2u) * sizeof *d->schemas);
        buf t = {0}, b = {0};
        json_text(j, k, &t);
        bool ok = base64(t.p, t.n, &b) && b.n;
        buf_free(&t);
        if (!ok) { buf_free(&b); return false; }
        d->schemas[d->nschemas++] = (schema_bytes){.p = b.p, .n = (u32)b.n};
        total += b.n;
        if (total > MAX_SCHEMAS_BYTES) return false;
    }
    if (d->nschemas < 2) return true;
    schema_bytes **o = xrealloc(NULL, d->nschemas * sizeof *o);
    bool ok = true;
    for (u32 i = 0; i < d->nschemas; i++) o[i] = &d->schemas[i];
    qsort(o, d->nschemas, sizeof *o, cmp_schema);
    for (u32 i = 1; i < d->nschemas; i++) if (!cmp_schema(&o[i - 1], &o[i])) ok = false;
    free(o);
    return ok;
}

static bool segment_field(ds *d, u32 o, seg *s)
{
    const json *j = &d->j;
    u64 v;
    if (j->v[o].type != J_OBJECT) return false;
    if (!hex_field(j, json_get(j, o, "id"), 32, s->id, NULL)) return false;
    for (int i = 0; i < 16; i++) { char t[3] = {s->id[2*i], s->id[2*i+1], 0}; s->idb[i] = (u8)strtoul(t, NULL, 16); }
    if (!ranged(j, json_get(j, o, "records"), 0, MAX_SEGMENT_RECORDS, &s->records)) return false;
    if (!ranged(j, json_get(j, o, "bins"), 1, MAX_BINS, &v)) return false;
    s->bins = (u32)v;
    u32 k = json_get(j, o, "sealed");
    if (!k || (j->v[k].type != J_TRUE && j->v[k].type != J_FALSE)) return false;
    s->sealed = j->v[k].type == J_TRUE;
    if (!hex_field(j, json_get(j, o, "digest"), 16, NULL, &s->digest) || s->digest >= DIGEST_P) return false;
    if (!ranged(j, json_get(j, o, "raw_bytes"), 0, INT64_MAX, &s->raw_bytes)) return false;
    if (!ranged(j, json_get(j, o, "stored_bytes"), 0, INT64_MAX, &s->stored_bytes)) return false;
    if ((k = json_get(j, o, "group"))) {
        if (!ranged(j, k, 2, MAX_GROUP, &v) || (v & (v - 1))) return false;
        s->group = (u32)v;
        if (!s->sealed && s->records % v) return false;
    }
    u32 a = json_get(j, o, "keys"), b = json_get(j, o, "keys_bytes");
    if (!a != !b) return false;
    if (a) {
        if (!ranged(j, a, 1, s->records, &s->keys) || !ranged(j, b, 0, INT64_MAX, &s->keys_bytes)) return false;
        s->has_keys = true;
    }
    if ((k = json_get(j, o, "schemas"))) {
        if (j->v[k].type != J_ARRAY) return false;
        s->has_schemas = true;
        s->schemas = xrealloc(NULL, MAX_SEGMENT_SCHEMAS * sizeof(u32));
        for (u32 m = k + 1; m < j->v[k].next; m = j->v[m].next) {
            if (s->nschemas == MAX_SEGMENT_SCHEMAS || !d->nschemas || !ranged(j, m, 0, d->nschemas - 1, &v)) return false;
            s->schemas[s->nschemas++] = (u32)v;
        }
        s->schemas = xrealloc(s->schemas, (s->nschemas + 1u) * sizeof(u32));
        if (s->nschemas) {
            if (d->schema >= 0 && s->schemas[0] != (u64)d->schema) return false;
            u32 *c = xrealloc(NULL, s->nschemas * sizeof *c);
            memcpy(c, s->schemas, s->nschemas * sizeof *c);
            qsort(c, s->nschemas, sizeof *c, cmp_u32);
            bool twice = false;
            for (u32 i = 1; i < s->nschemas; i++) twice |= c[i] == c[i - 1];
            free(c);
            if (twice) return false;
        }
    }
    a = json_get(j, o, "deleted"); b = json_get(j, o, "deleted_hash");
    if (!a != !b) return false;
    if (a) {
        if (!ranged(j, a, 1, s->records, &s->deleted) || !hex_field(j, b, 16, NULL, &s->deleted_hash)) return false;
        s->has_deleted = true;
    }
    bool groups = false, deleted = false;
    if ((k = json_get(j, o, "must_understand"))) {
        if (!form_of_features(j, k)) return false;
        for (u32 m = k + 1; m < j->v[k].next; m = j->v[m].next) {
            if (json_is(j, m, "groups")) groups = true;
            else if (json_is(j, m, "deleted")) deleted = true;
            else if (!s->unknown) {
                buf t = {0};
                json_text(j, m, &t);
                buf_c(&t, 0);
                s->unknown = (char *)t.p;
            }
        }
    }
    return groups == (s->group != 0) && deleted == s->has_deleted && unknown_depths(j, o, SEG);
}

static int manifest(ds *d, const u8 *p, size_t n, u64 number)
{
    u64 h;
    if (n > MAX_MANIFEST_BYTES || n < 29) return MANIFEST;
    const u8 *e = memchr(p, '\n', n);
    if (!e || (size_t)(p + n - e) != 29 || memcmp(e + 1, "{\"xxh3\":\"", 9) || memcmp(e + 26, "\"}\n", 3)) return MANIFEST;
    size_t l = (size_t)(e - p);
    if (!hex_text(e + 10, 16, 16, &h) || h != hash64(p, l)) return MANIFEST;
    json *j = &d->j;
    if (!json_parse(j, p, l, 200) || j->v[0].type != J_OBJECT) return MANIFEST;
    u32 k = json_get(j, 0, "format");
    if (!k || !json_is(j, k, "splitdata")) return MANIFEST;
    k = json_get(j, 0, "version");
    u64 v[2];
    if (!k || j->v[k].type != J_ARRAY || json_count(j, k) != 2) return MANIFEST;
    for (u32 i = 0; i < 2; i++) if (!ranged(j, json_at(j, k, i), 0, 65535, &v[i])) return MANIFEST;
    d->major = (unsigned)v[0]; d->minor = (unsigned)v[1];
    if (d->major != 1) return UNSUPPORTED;
    k = json_get(j, 0, "must_understand");
    if (!form_of_features(j, k)) return MANIFEST;
    if (json_count(j, k)) return UNSUPPORTED;
    if (!ranged(j, json_get(j, 0, "generation"), 1, MAX_GENERATION, &d->generation)) return MANIFEST;
    if (!hex_field(j, json_get(j, 0, "dataset"), 32, d->dataset, NULL)) return MANIFEST;
    if (!short_text(j, json_get(j, 0, "writer")) || !short_text(j, json_get(j, 0, "time"))) return MANIFEST;
    d->metadata = json_get(j, 0, "metadata");
    if (!d->metadata || j->v[d->metadata].type != J_OBJECT || json_depth(j, d->metadata) > MAX_METADATA_DEPTH) return MANIFEST;
    if (json_bytes(j, d->metadata) > MAX_METADATA_BYTES) return MANIFEST;
    if ((k = json_get(j, d->metadata, "record_codec"))) {
        d->has_codec = true;
        strcpy(d->codec, "?");
        static const char *const known[] = {"sample", "text", "json", "npy", "bytes"};
        for (int i = 0; i < 5; i++) if (json_is(j, k, known[i])) strcpy(d->codec, known[i]);
    }
    if (!schemas_field(d, json_get(j, 0, "schemas"))) return MANIFEST;
    d->schema = -1;
    if ((k = json_get(j, 0, "schema"))) {
        if (!d->nschemas || !ranged(j, k, 0, d->nschemas - 1, &h)) return MANIFEST;
        d->schema = (i64)h;
    }
    k = json_get(j, 0, "segments");
    if (!k || j->v[k].type != J_ARRAY) return MANIFEST;
    u32 m = json_count(j, k);
    if (m > MAX_SEGMENTS) return MANIFEST;
    d->segs = xrealloc(NULL, (m + 1u) * sizeof *d->segs);
    memset(d->segs, 0, (m + 1u) * sizeof *d->segs);
    u64 first = 0;
    for (u32 o = k + 1; o < j->v[k].next; o = j->v[o].next) {
        seg *s = &d->segs[d->nsegs++];
        if (!segment_field(d, o, s)) return MANIFEST;
        s->first = first;
        first += s->records;
    }
    d->records = first;
    if (m > 1) {
        seg **o = xrealloc(NULL, m * sizeof *o);
        bool twice = false;
        for (u32 i = 0; i < m; i++) o[i] = &d->segs[i];
        qsort(o, m, sizeof *o, cmp_id);
        for (u32 i = 1; i < m; i++) twice |= !cmp_id(&o[i - 1], &o[i]);
        free(o);
        if (twice) return MANIFEST;
    }
    if (!unknown_depths(j, 0, TOP)) return MANIFEST;
    return d->generation == number ? OK : MANIFEST;
}

/* Is there a segment that was committed, though there is no manifest? */
static bool was_committed(ds *d)
{
    int fd;
    if (open_folder(d->dirfd, "segments", &fd)) return false;
    d->segments_fd = dup(fd);
    DIR *dir = fdopendir(fd);
    bool r = false;
    struct dirent *e;
    while (dir && !r && (e = readdir(dir))) {
        seg s = {0};
        if (!hex_text((u8 *)e->d_name, strlen(e->d_name), 32, NULL)) continue;
        memcpy(s.id, e->d_name, 33);
        file f;
        if (open_file(d, &s, F_INDEX, &f)) continue;
        u8 h[128];
        if (read_at(&f, 0, h, 128)) {
            hdr_result c = check_header(h, 128, 'I', NULL, 0);
            r = c.intact && le64(h + 40) && !h[62];
        }
        close(f.fd);
    }
    if (dir) closedir(dir);
    return r;
}

int sd_open(ds *d, const char *path)
{
    memset(d, 0, sizeof *d);
    d->segments_fd = -1;
    d->schema = -1;
    d->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->dirfd < 0) return NOT_FOUND;
    for (int tries = 0; tries < 1000; tries++) {
        DIR *dir = fdopendir(dup(d->dirfd));
        if (!dir) return IO;
        rewinddir(dir);
        u64 best = 0;
        char name[32];
        struct dirent *e;
        while ((e = readdir(dir))) {
            const char *q = e->d_name;
            if (strlen(q) != 24 || memcmp(q, "manifest.", 9) || memcmp(q + 19, ".json", 5)) continue;
            u64 g = 0;
            bool ok = true;
            for (int i = 9; i < 19; i++) { if (q[i] < '0' || q[i] > '9') ok = false; g = g * 10 + (u64)(q[i] - '0'); }
            if (ok && g > best) { best = g; memcpy(name, q, 25); }
        }
        closedir(dir);
        if (!best) return was_committed(d) ? MANIFEST : NOT_FOUND;
        file f;
        int r = open_regular(d->dirfd, name, &f);
        if (r == ABSENT) continue;
        if (r) return r;
        if (f.size > MAX_MANIFEST_BYTES) { close(f.fd); return MANIFEST; }
        d->line = xrealloc(NULL, f.size);
        bool ok = read_at(&f, 0, d->line, f.size);
        close(f.fd);
        if (!ok) return IO;
        return manifest(d, d->line, f.size, best);
    }
    return IO;
}

void sd_close(ds *d)
{
    for (int i = 0; i < CACHE; i++) if (d->cache[i].used) close(d->cache[i].f.fd);
    for (u32 i = 0; i < d->nsegs; i++) {
        seg *s = &d->segs[i];
        free(s->schemas); free(s->unknown); free(s->del); free(s->dict_bytes);
        if (s->dict) ZSTD_freeDDict(s->dict);
    }
    for (u32 i = 0; i < d->nschemas; i++) { free(d->schemas[i].p); schema_free(d->schemas[i].parsed); }
    free(d->schemas); free(d->segs); free(d->line); json_free(&d->j); buf_free(&d->g_raw);
    if (d->dctx) ZSTD_freeDCtx(d->dctx);
    if (d->segments_fd >= 0) close(d->segments_fd);
    if (d->dirfd >= 0) close(d->dirfd);
    memset(d, 0, sizeof *d);
    d->dirfd = d->segments_fd = -1;
}

/* ---- deleted records: section 13 */
static int one_half(const file *f, u64 at, seg *s, u8 *h)
{
    u64 left = s->deleted;
    if (!read_at(f, at, h, 64) || memcmp(h, MAGICS[3], 8) || le64(h + 56) != hash64(h, 56) || le64(h + 40) != s->deleted) return 1;
    if (at + 64 > f->size || left * 4 > f->size - at - 64) return 1;
    XXH3_state_t *x = XXH3_createState();
    XXH3_64bits_reset(x);
    XXH3_64bits_update(x, h, 64);
    buf b = {0};
    u64 pos = at + 64;
    i64 last = -1;
    bool ok = true;
    while (left && ok) {
        u64 n = left < 65536 ? left : 65536;
        buf_room(&b, n * 4);
        u8 *q = b.p + b.n;
        if (!read_at(f, pos, q, n * 4)) { ok = false; break; }
        XXH3_64bits_update(x, q, n * 4);
        /* numbers that do not ascend: this half is not good, whatever its hash */
        for (u64 i = 0; i < n; i++) { u32 v = le32(q + 4 * i); if ((i64)v <= last) { ok = false; break; } last = v; memcpy(q + 4 * i, &v, 4); }
        b.n += n * 4; pos += n * 4; left -= n;
    }
    ok = ok && XXH3_64bits_digest(x) == s->deleted_hash;
    XXH3_freeState(x);
    if (!ok) { buf_free(&b); return 1; }
    s->del = (u32 *)(void *)b.p;
    s->ndel = s->deleted;
    return 0;
}
int sd_deleted(ds *d, seg *s)
{
    if (!s->has_deleted) return OK;
    if (s->del_loaded) return s->del_err;
    s->del_loaded = true;
    file f;
    int e = open_file(d, s, F_DELETED, &f);
    if (e) return s->del_err = e == ABSENT ? FORMAT : e;
    u8 h[64];
    u64 L = 64 + 4 * s->deleted;
    e = FORMAT;
    for (int half = 0; half < 2 && e == FORMAT; half++)
        if (!one_half(&f, half ? L : 0, s, h)) { e = check_header(h, 64, 'X', s, 0).err; break; }
    close(f.fd);
    return s->del_err = e;
}
bool is_deleted(const seg *s, u64 n)
{
    u64 lo = 0, hi = s->ndel;
    while (lo < hi) { u64 m = lo + (hi - lo) / 2; if (s->del[m] < n) lo = m + 1; else hi = m; }
    return lo < s->ndel && s->del[lo] == n;
}

/* ---- frames */
u64 frames_of(const seg *s) { return s->group ? (s->records + s->group - 1) / s->group : s->records; }
u64 stride_of(const seg *s) { return s->group ? 16 + 4ull * s->group : 16; }

seg *sd_segment(ds *d, u64 p)
{
    u32 lo = 0, hi = d->nsegs; /* the last one whose first position is not above p */
    if (p >= d->records) return NULL;
    while (lo < hi) { u32 m = (lo + hi) / 2; if (d->segs[m].first <= p) lo = m + 1; else hi = m; }
    while (lo && !d->segs[lo - 1].records) lo--;
    return lo ? &d->segs[lo - 1] : NULL;
}

u64 bin_salt(const seg *s, u32 bin)
{
    u8 t[20];
    memcpy(t, s->idb, 16);
    for (int i = 0; i < 4; i++) t[16 + i] = (u8)(bin >> 8 * i);
    return XXH3_64bits_withSeed(t, 20, 0x5d);
}
u32 header_check(u64 salt, u64 off, const u8 *h, unsigned words)
{
    static const u64 M[4] = {0x9e3779b97f4a7c15ull, 0xc90fdaa22168c235ull, 0xa4093822299f31d1ull, 0x452821e638d01377ull};
    u64 x = salt ^ (off * M[0]);
    for (unsigned n = 1; n < words; n++) x = (x ^ x >> 32 ^ le64(h + 8 * n)) * M[(n - 1) % 3 + 1];
    return (u32)(x >> 32);
}

/* Section 9, steps 2 to 7, but for the reader's own limit. */
int locate(ds *d, seg *s, u64 f, frame *fr)
{
    cfile *c;
    u8 entry[16];
    int e = get_file(d, s, F_INDEX, &c);
    if (e) return e == ABSENT ? TRUNCATED : e;
    if (!read_at(&c->f, 128 + stride_of(s) * f, entry, 16)) return TRUNCATED;
    u64 loc = le64(entry);
    if (loc == TOMBSTONE || loc >> 40 != f % s->bins) return CORRUPT;
    memset(fr, 0, sizeof *fr);
    fr->s = s; fr->f = f;
    fr->bin = (u32)(loc >> 40);
    fr->off = (loc & 0xffffffffffull) * 8;
    e = get_file(d, s, fr->bin, &c);
    if (e) return e == ABSENT ? MISSING_BIN : e;
    fr->bf = c->f;
    u64 size = c->f.size;
    if (fr->off > size || size - fr->off < 32) return TRUNCATED;
    if (!read_at(&c->f, fr->off, fr->h, 32)) return TRUNCATED;
    fr->kind = fr->h[20]; fr->codec = fr->h[21]; fr->key_length = le16(fr->h + 22);
    fr->hdr_bytes = fr->kind == 4 ? 64 : 32;
    if (fr->kind == 4 && !read_at(&c->f, fr->off, fr->h, 64)) return TRUNCATED;
    if (le32(fr->h + 16) != f || memcmp(fr->h + 24, entry + 8, 8)) return CORRUPT;
    u32 sl = le32(fr->h + 24), rl = le32(fr->h + 28);
    fr->stored = sl; fr->raw = rl;
    if (s->group ? fr->kind != 3 : fr->kind != 0 && fr->kind != 4) return CORRUPT;
    if (fr->codec > 2 || (fr->codec == 2 && fr->kind == 4)) return CORRUPT;
    if (fr->kind == 4) {
        fr->stored = le64(fr->h + 32); fr->raw = le64(fr->h + 40);
        if (sl != (fr->stored < LENGTH_ESCAPE ? fr->stored : LENGTH_ESCAPE) || rl != (fr->raw < LENGTH_ESCAPE ? fr->raw : LENGTH_ESCAPE)) return CORRUPT;
    }
    if (fr->codec == 0 ? fr->stored != fr->raw : fr->stored >= fr->raw) return CORRUPT;
    if ((fr->raw >= LARGE_RECORD_BYTES) != (fr->kind == 4)) return CORRUPT;
    fr->pay = fr->off + fr->hdr_bytes;
    if (fr->stored > size - fr->pay) return TRUNCATED;
    fr->after = fr->pay + fr->stored;
    if (fr->kind == 4) {
        fr->blocks = (fr->stored + BLOCK_BYTES - 1) / BLOCK_BYTES;
        fr->bh = fr->off + align_up(64 + fr->stored, 8);
        if (fr->bh > size || fr->blocks * 8 > size - fr->bh) return TRUNCATED;
        fr->after = fr->bh + fr->blocks * 8;
    }
    return OK;
}

static int block_hashes(const frame *fr, buf *b)
{
    b->n = 0;
    buf_room(b, fr->blocks * 8);
    b->n = fr->blocks * 8;
    if (!read_at(&fr->bf, fr->bh, b->p, b->n)) return TRUNCATED;
    return hash64(b->p, b->n) == le64(fr->h + 8) ? OK : CORRUPT;
}

/* Step 8. With raw_hash, which is of uncompressed frames, nothing is kept. */
int stored_payload(const frame *fr, buf *out, u64 *raw_hash)
{
    if (fr->kind != 4) {
        out->n = 0;
        buf_room(out, fr->stored);
        if (!read_at(&fr->bf, fr->pay, out->p, fr->stored)) return TRUNCATED;
        out->n = fr->stored;
        u64 h = hash64(out->p, out->n);
        if (raw_hash) *raw_hash = h;
        return h == le64(fr->h + 8) ? OK : CORRUPT;
    }
    buf bh = {0}, blk = {0};
    int e = block_hashes(fr, &bh);
    XXH3_state_t *x = NULL;
    if (!e) {
        out->n = 0;
        if (raw_hash) { buf_room(&blk, BLOCK_BYTES); x = XXH3_createState(); XXH3_64bits_reset(x); }
    }
    for (u64 i = 0; !e && i < fr->blocks; i++) {
        u64 at = i * BLOCK_BYTES, n = fr->stored - at < BLOCK_BYTES ? fr->stored - at : BLOCK_BYTES;
        u8 *q = blk.p;
        if (!raw_hash) { buf_room(out, n); q = out->p + out->n; out->n += n; }
        if (!read_at(&fr->bf, fr->pay + at, q, n)) e = TRUNCATED;
        else if (hash64(q, n) != le64(bh.p + 8 * i)) e = CORRUPT;
        else if (x) XXH3_64bits_update(x, q, n);
    }
    if (x) { *raw_hash = XXH3_64bits_digest(x); XXH3_freeState(x); }
    buf_free(&bh); buf_free(&blk);
    return e;
}

/* ---- dictionary: section 10 */
bool control_valid(const u8 *h)
{
    return le32(h + 16) == CONTROL_SEQUENCE && h[21] == 0 && !le16(h + 22) && le32(h + 24) == le32(h + 28) && (h[20] == 1 || h[20] == 2);
}
static int set_dictionary(seg *s, buf *b)
{
    s->dict_bytes = b->p; s->dict_n = b->n;
    bool formatted = b->n >= 4 && le32(b->p) == 0xec30a437u;
    if (formatted && b->n < 8) return CORRUPT;
    s->dict = ZSTD_createDDict(b->p, b->n);
    if (!s->dict) return CORRUPT;
    s->dict_id = formatted ? le32(b->p + 4) : 0;
    return OK;
}
static int find_dictionary(ds *d, seg *s)
{
    cfile *c;
    buf b = {0};
    int e = get_file(d, s, F_INDEX, &c);
    if (!e && s->sealed && c->intact) {
        u32 n = le32(c->hdr + 96);
        u64 fr = frames_of(s), stride = stride_of(s), per = SUM_BYTES / stride ? SUM_BYTES / stride : 1;
        u64 at = 128 + stride * fr + 8 * ((fr + per - 1) / per) + 8ull * s->bins, pad = align_up(n, 8);
        u8 want[8];
        if (n && n <= MAX_DICTIONARY_BYTES && at <= c->f.size && pad + 24 <= c->f.size - at && read_at(&c->f, at + pad + 16, want, 8)) {
            buf_room(&b, pad);
            if (read_at(&c->f, at, b.p, pad) && hash64(b.p, pad) == le64(want)) {
                b.n = n;
                s->dict_from_index = true;
                return set_dictionary(s, &b);
            }
        }
    }
    e = get_file(d, s, 0, &c);
    if (e) { buf_free(&b); return e == ABSENT ? CORRUPT : e; }
    u8 h[4096];
    for (unsigned al = c->intact ? c->hdr[48] : 3; al <= (c->intact ? c->hdr[48] : 12u); al++) {
        u64 at = next_frame(64, 32, 1ull << al);
        if (!read_at(&c->f, 64, h, at - 64 + 32)) continue;
        if (!c->intact && !all_zero(h, at - 64)) continue;
        const u8 *q = h + (at - 64);
        u32 n = le32(q + 24);
        if (!control_valid(q) || q[20] != 1 || !n || n > MAX_DICTIONARY_BYTES || n > c->f.size - at - 32) continue;
        b.n = 0;
        buf_room(&b, n);
        if (!read_at(&c->f, at + 32, b.p, n) || hash64(b.p, n) != le64(q + 8)) continue;
        b.n = n;
        return set_dictionary(s, &b);
    }
    buf_free(&b);
    return CORRUPT;
}
int dictionary(ds *d, seg *s)
{
    if (!s->dict_loaded) { s->dict_loaded = true; s->dict_err = find_dictionary(d, s); }
    return s->dict_err;
}

/* ---- zstd: section 10. What the blocks could hold at most is summed up before anything is allocated. */
static bool zstd_frame(const u8 *p, u64 n, u64 raw, u32 *dict_id)
{
    if (n < 6 || le32(p) != 0xfd2fb528u) return false;
    u8 fd = p[4];
    if (fd & 8) return false;
    bool single = fd & 32;
    unsigned did = fd & 3, fcs = fd >> 6, didn = did == 3 ? 4 : did;
    unsigned fcsn = fcs == 0 ? single : fcs == 1 ? 2 : fcs == 2 ? 4 : 8;
    u64 at = 5, window = 0;
    if (!fcsn || n < 5u + !single + didn + fcsn) return false;
    if (!single) { unsigned w = p[at++]; u64 base = 1ull << (10 + (w >> 3)); window = base + base / 8 * (w & 7); }
    *dict_id = 0;
    for (unsigned i = 0; i < didn; i++) *dict_id |= (u32)p[at + i] << 8 * i;
    at += didn;
    u64 size = 0;
    for (unsigned i = 0; i < fcsn; i++) size |= (u64)p[at + i] << 8 * i;
    if (fcs == 1) size += 256;
    at += fcsn;
    if (size != raw) return false;
    if (single) window = size;
    if (window > MAX_WINDOW_BYTES && window > size) return false;
    u64 most = 0, block = window < 131072 ? window : 131072;
    for (bool last = false; !last;) {
        if (n - at < 3) return false;
        u32 b = (u32)p[at] | (u32)p[at + 1] << 8 | (u32)p[at + 2] << 16, len = b >> 3, type = b >> 1 & 3;
        at += 3;
        last = b & 1;
        if (type == 3) return false;
        u64 takes = type == 1 ? 1 : len;
        if (takes > n - at) return false;
        at += takes;
        most += type == 2 ? block : len;
    }
    if (fd & 4) { if (n - at < 4) return false; at += 4; }
    return at == n && most >= raw;
}

int raw_payload(ds *d, frame *fr, buf *out)
{
    out->n = 0;
    if (fr->raw > OWN_LIMIT) return TOO_LARGE;
    if (fr->codec == 0) return stored_payload(fr, out, NULL);
    buf b = {0};
    u32 id = 0;
    int e = stored_payload(fr, &b, NULL);
    if (!e && !zstd_frame(b.p, b.n, fr->raw, &id)) e = CORRUPT;
    ZSTD_DDict *dict = NULL;
    if (!e && fr->codec == 2) {
        e = dictionary(d, fr->s);
        dict = fr->s->dict;
        if (!e && id && id != fr->s->dict_id) e = CORRUPT;
    } else if (!e && id) e = CORRUPT;
    if (!e) {
        if (!d->dctx) d->dctx = ZSTD_createDCtx();
        buf_room(out, fr->raw);
        size_t r = dict ? ZSTD_decompress_usingDDict(d->dctx, out->p, fr->raw, b.p, b.n, dict) : ZSTD_decompressDCtx(d->dctx, out->p, fr->raw, b.p, b.n);
        if (ZSTD_isError(r) || r != fr->raw) e = CORRUPT;
        else out->n = fr->raw;
    }
    buf_free(&b);
    return e;
}

/* ---- groups: section 11 */
int group_check(const seg *s, u64 f, const buf *raw, group_head *g)
{
    u64 left = s->records - f * s->group, c = left < s->group ? left : s->group;
    if (raw->n < 8) return CORRUPT;
    u32 flags = le32(raw->p + 4);
    g->count = le32(raw->p);
    g->a = flags & 255;
    g->keys = flags >> 8 & 1;
    if (g->count < c || g->count > s->group || g->a > 6 || flags >> 9) return CORRUPT;
    g->tables = 8 + 4ull * g->count * (g->keys ? 2 : 1);
    return g->tables <= raw->n ? OK : CORRUPT;
}
int group_item(const buf *raw, const group_head *g, u32 i, u64 *from, u64 *to)
{
    u64 e = i ? le32(raw->p + 8 + 4 * (i - 1)) : g->tables;
    *from = align_up(e, 1ull << g->a);
    *to = le32(raw->p + 8 + 4 * i);
    return *from >= g->tables && *from <= *to && *to <= raw->n ? OK : CORRUPT;
}
int group_key(const buf *raw, const group_head *g, u32 i, u64 *from, u64 *to)
{
    if (!g->keys) { *from = *to = 0; return OK; }
    const u8 *k = raw->p + 8 + 4 * (u64)g->count;
    *from = i ? le32(k + 4 * (i - 1)) : le32(raw->p + 8 + 4 * (g->count - 1));
    *to = le32(k + 4 * i);
    if (*from < g->tables || *from > *to || *to > raw->n || *to - *from > MAX_KEY_BYTES) return CORRUPT;
    return utf8_valid(raw->p + *from, *to - *from, UTF8_STRICT) ? OK : CORRUPT;
}
static int load_group(ds *d, seg *s, u64 f, group_head *g)
{
    u32 si = (u32)(s - d->segs);
    if (!(d->g_valid && d->g_seg == si && d->g_f == f)) {
        frame fr;
        d->g_valid = false;
        int e = locate(d, s, f, &fr);
        if (!e) e = raw_payload(d, &fr, &d->g_raw);
        if (e) return e;
        d->g_valid = true; d->g_seg = si; d->g_f = f;
    }
    return group_check(s, f, &d->g_raw, g);
}

/* ---- reading */
static int step1(ds *d, u64 p, seg **s, u64 *n)
{
    if (!(*s = sd_segment(d, p))) return NO_POSITION;
    *n = p - (*s)->first;
    if ((*s)->unknown) return UNSUPPORTED;
    int e = sd_deleted(d, *s);
    return e ? e : is_deleted(*s, *n) ? DELETED : OK;
}
int sd_range(ds *d, u64 p, u64 start, u64 stop, buf *out)
{
    seg *s;
    u64 n, from, to;
    out->n = 0;
    int e = step1(d, p, &s, &n);
    if (e) return e;
    if (s->group) {
        group_head g;
        if ((e = load_group(d, s, n / s->group, &g)) || (e = group_item(&d->g_raw, &g, (u32)(n % s->group), &from, &to))) return e;
        if (stop > to - from) stop = to - from;
        if (start < stop) buf_put(out, d->g_raw.p + from + start, stop - start);
        return OK;
    }
    frame fr;
    if ((e = locate(d, s, n, &fr))) return e;
    if (stop > fr.raw) stop = fr.raw;
    if (start > stop) start = stop;
    if (fr.kind == 4 && fr.codec == 0 && (start || stop < fr.raw)) {
        if (stop - start > OWN_LIMIT) return TOO_LARGE;
        buf bh = {0}, blk = {0};
        e = block_hashes(&fr, &bh);
        buf_room(&blk, BLOCK_BYTES);
        for (u64 i = start / BLOCK_BYTES; !e && i * BLOCK_BYTES < stop; i++) {
            u64 at = i * BLOCK_BYTES, m = fr.stored - at < BLOCK_BYTES ? fr.stored - at : BLOCK_BYTES;
            if (!read_at(&fr.bf, fr.pay + at, blk.p, m)) e = TRUNCATED;
            else if (hash64(blk.p, m) != le64(bh.p + 8 * i)) e = CORRUPT;
            else {
                from = start > at ? start - at : 0;
                to = stop - at < m ? stop - at : m;
                if (from < to) buf_put(out, blk.p + from, to - from);
            }
        }
        buf_free(&bh); buf_free(&blk);
        return e;
    }
    if ((e = raw_payload(d, &fr, out))) return e;
    if (start && stop > start) memmove(out->p, out->p + start, stop - start);
    out->n = stop - start;
    return OK;
}
int sd_read(ds *d, u64 p, buf *out) { return sd_range(d, p, 0, UINT64_MAX, out); }

int sd_length(ds *d, u64 p, u64 *n)
{
    seg *s;
    u64 k;
    cfile *c;
    u8 t[4];
    int e = step1(d, p, &s, &k);
    if (e == DELETED) { *n = 0; return OK; }
    if (e) return e;
    if ((e = get_file(d, s, F_INDEX, &c))) return e == ABSENT ? TRUNCATED : e;
    u64 at = s->group ? 128 + stride_of(s) * (k / s->group) + 16 + 4 * (k % s->group) : 128 + 16 * k + 12;
    if (!read_at(&c->f, at, t, 4)) return TRUNCATED;
    *n = le32(t);
    if (*n != LENGTH_ESCAPE || s->group) return OK;
    frame fr;
    if (!(e = locate(d, s, k, &fr))) *n = fr.raw;
    return e;
}

/* The key of a frame that was located. */
int frame_key(ds *d, frame *fr, buf *out, bool *has)
{
    (void)d;
    u64 salt = bin_salt(fr->s, fr->bin);
    *has = false;
    if (le32(fr->h) != ((u32)salt | 1) || le32(fr->h + 4) != header_check(salt, fr->off, fr->h, fr->hdr_bytes / 8)) return CORRUPT;
    if (!fr->key_length) return OK;
    out->n = 0;
    buf_room(out, fr->key_length + 8u);
    if (!read_at(&fr->bf, fr->after, out->p, fr->key_length + 8u)) return TRUNCATED;
    out->n = fr->key_length;
    if (hash64(out->p, out->n) != le64(out->p + out->n) || !utf8_valid(out->p, out->n, UTF8_STRICT)) return CORRUPT;
    *has = true;
    return OK;
}
int sd_key(ds *d, u64 p, buf *out, bool *has)
{
    seg *s;
    u64 n, from, to;
    *has = false;
    out->n = 0;
    int e = step1(d, p, &s, &n);
    if (e) return e;
    if (s->group) {
        group_head g;
        if ((e = load_group(d, s, n / s->group, &g)) || (e = group_key(&d->g_raw, &g, (u32)(n % s->group), &from, &to))) return e;
        *has = to > from;
        buf_put(out, d->g_raw.p + from, to - from);
        return OK;
    }
    frame fr;
    if ((e = locate(d, s, n, &fr))) return e;
    return frame_key(d, &fr, out, has);
}

/* ---- finding a key: section 12 */
static u64 run_blocks_bytes(u64 k) { return k / KEYS_PER_BLOCK * (12 * KEYS_PER_BLOCK) + align_up(k % KEYS_PER_BLOCK * 12, 8); }
static int by_offset(const void *a, const void *b) { const key_run *x = a, *y = b; return (x->offset > y->offset) - (x->offset < y->offset); }

bool key_directory(const file *f, u64 end, key_dir *k)
{
    u8 foot[24];
    *k = (key_dir){0};
    if (end > f->size || end % 8 || end < 64 + 24 || !read_at(f, end - 24, foot, 24)) return false;
    u64 runs = le64(foot + 8);
    if (runs > MAX_KEY_RUNS || 24 * runs + 24 + 64 > end || le64(foot) > MAX_SEGMENT_RECORDS) return false;
    u64 n = 24 * runs, sum = 0;
    u8 *t = xrealloc(NULL, n + 16);
    bool ok = read_at(f, end - 24 - n, t, n + 16) && hash64(t, n + 16) == le64(foot + 16);
    k->begin = end - 24 - n; k->end = end; k->total = le64(foot); k->nruns = (u32)runs;
    if (ok) {
        k->runs = xrealloc(NULL, (runs + 1) * sizeof *k->runs);
        for (u64 i = 0; ok && i < runs; i++) {
            key_run *r = &k->runs[i];
            *r = (key_run){.offset = le64(t + 24 * i), .keys = le64(t + 24 * i + 8), .fences_hash = le64(t + 24 * i + 16)};
            if (r->keys < 1 || r->keys > MAX_SEGMENT_RECORDS || r->offset % 8 || r->offset < 64 || r->offset > k->begin) { ok = false; break; }
            r->blocks = (r->keys + KEYS_PER_BLOCK - 1) / KEYS_PER_BLOCK;
            r->fences = r->offset + run_blocks_bytes(r->keys);
            r->end = r->fences + 16 * r->blocks;
            sum += r->keys;
            if (r->end > k->begin) ok = false;
        }
        ok = ok && sum == k->total;
        if (ok) {
            key_run *o = xrealloc(NULL, (runs + 1) * sizeof *o);
            memcpy(o, k->runs, runs * sizeof *o);
            qsort(o, runs, sizeof *o, by_offset);
            for (u64 i = 1; i < runs; i++) if (o[i - 1].end > o[i].offset) ok = false;
            free(o);
        }
    }
    free(t);
    if (!ok) { free(k->runs); k->runs = NULL; }
    return ok;
}

/* Opens the file of keys that counts, and its directory. */
static int keys_file(ds *d, seg *s, file *f, key_dir *k)
{
    for (int which = s->sealed ? F_KEYS : F_KEYS_OPEN;; which = F_KEYS) {
        int e = open_file(d, s, which, f);
        if (e && e != ABSENT) return e;
        if (!e) {
            u8 h[64];
            hdr_result r = {0};
            if (read_at(f, 0, h, 64)) r = check_header(h, 64, 'K', s, 0);
            if (r.err && r.err != FORMAT) { close(f->fd); return r.err; }
            if (!r.err && (key_directory(f, s->keys_bytes, k) || (which == F_KEYS && key_directory(f, f->size, k)))) return OK;
            close(f->fd);
        }
        if (which == F_KEYS) return FORMAT;
    }
}

static int search_run(const file *f, const key_run *r, u64 h, u32 **cand, size_t *n, size_t *cap)
{
    buf fe = {0};
    int e = OK;
    u8 *blk = NULL;
    buf_room(&fe, 16 * r->blocks);
    fe.n = 16 * r->blocks;
    if (!read_at(f, r->fences, fe.p, fe.n) || hash64(fe.p, fe.n) != r->fences_hash) e = FORMAT;
    u64 b = r->blocks;
    if (!e) while (b && le64(fe.p + 16 * (b - 1)) > h) b--;
    if (b && !e) blk = xrealloc(NULL, 12 * KEYS_PER_BLOCK);
    while (b && !e) {
        b--;
        u64 k = r->keys - b * KEYS_PER_BLOCK < KEYS_PER_BLOCK ? r->keys - b * KEYS_PER_BLOCK : KEYS_PER_BLOCK;
        u64 len = align_up(12 * k, 8);
        if (!read_at(f, r->offset + b * 12 * KEYS_PER_BLOCK, blk, len) || hash64(blk, len) != le64(fe.p + 16 * b + 8)) { e = FORMAT; break; }
        for (u64 i = 0; i < k; i++) {
            if (le64(blk + 8 * i) != h) continue;
            if (*n == *cap) { *cap = *cap ? *cap * 2 : 16; *cand = xrealloc(*cand, *cap * sizeof **cand); }
            (*cand)[(*n)++] = le32(blk + 8 * k + 4 * i);
        }
        if (le64(fe.p + 16 * b) != h) break;
    }
    free(blk);
    buf_free(&fe);
    return e;
}

int sd_find(ds *d, const u8 *key, size_t n, u64 *p, bool *found)
{
    u64 h = hash64(key, n);
    buf got = {0};
    int e = OK;
    *found = false;
    for (u32 si = d->nsegs; si-- && !e && !*found;) {
        seg *s = &d->segs[si];
        if (!s->records) continue;
        if (s->unknown) { e = UNSUPPORTED; break; }
        if (!s->has_keys) continue;
        file f;
        key_dir k;
        if ((e = keys_file(d, s, &f, &k))) break;
        u32 *cand = NULL;
        size_t nc = 0, cap = 0;
        for (u32 i = 0; i < k.nruns && !e; i++) e = search_run(&f, &k.runs[i], h, &cand, &nc, &cap);
        close(f.fd);
        free(k.runs);
        if (nc) qsort(cand, nc, sizeof *cand, cmp_u32);
        unsigned read = 0;
        for (size_t i = nc; i-- && !e && !*found;) {
            bool has;
            if (i + 1 < nc && cand[i] == cand[i + 1]) continue;
            if (cand[i] >= s->records) { if (s->sealed) e = FORMAT; continue; }
            e = sd_key(d, s->first + cand[i], &got, &has);
            if (e == DELETED) { e = OK; continue; }
            if (e) break;
            if (read++ == 1024) { e = FORMAT; break; }
            if (has && got.n == n && !memcmp(got.p, key, n)) { *found = true; *p = s->first + cand[i]; }
            else if (!has || hash64(got.p, got.n) != h) e = CORRUPT;
        }
        free(cand);
    }
    buf_free(&got);
    return e;
}

/* ---- fingerprint and SHA-256 digest */
static bool begins_with(const seg *a, const seg *b) { return a->nschemas >= b->nschemas && (!b->nschemas || !memcmp(a->schemas, b->schemas, b->nschemas * sizeof(u32))); }
static void put_list(ds *d, const seg *s, buf *out)
{
    u32 v = s ? s->nschemas : 0;
    u8 t[4];
#define PUT(x) do { u32 y = (x); for (int q = 0; q < 4; q++) t[q] = (u8)(y >> 8 * q); buf_put(out, t, 4); } while (0)
    PUT(v);
    for (u32 i = 0; i < v; i++) { schema_bytes *c = &d->schemas[s->schemas[i]]; PUT(c->n); buf_put(out, c->p, c->n); }
}
void lists_of_schemas(ds *d, buf *out, bool *any)
{
    static const seg empty;
    const seg *last = &empty;
    *any = false;
    for (u32 i = 0; i < d->nsegs; i++) {
        const seg *s = &d->segs[i];
        if (!s->records) continue;
        if (s->nschemas) *any = true;
        if (begins_with(s, last)) last = s;
        else if (!begins_with(last, s)) { put_list(d, last, out); last = s; }
    }
    put_list(d, last, out);
}
void sd_fingerprint(ds *d, buf *out)
{
    u64 g = 0;
    bool any;
    for (u32 i = 0; i < d->nsegs; i++) g = digest_join(g, d->segs[i].digest, d->segs[i].records);
    buf_f(out, "%" PRIu64 "-%016" PRIx64, d->records, g);
    buf l = {0};
    lists_of_schemas(d, &l, &any);
    if (any) buf_f(out, "-%016" PRIx64, hash64(l.p, l.n));
    buf_free(&l);
}
static void add64(sha256 *s, u64 v) { u8 t[8]; for (int i = 0; i < 8; i++) t[i] = (u8)(v >> 8 * i); sha256_add(s, t, 8); }
int sd_sha256(ds *d, u8 out[32])
{
    sha256 all, leaf;
    buf b = {0};
    sha256_init(&all);
    sha256_init(&leaf);
    int e = OK;
    for (u64 p = 0; p < d->records && !e; p++) {
        e = sd_read(d, p, &b);
        if (e == DELETED) { e = OK; add64(&leaf, UINT64_MAX); }
        else if (!e) { add64(&leaf, b.n); sha256_add(&leaf, b.p, b.n); }
        if ((p + 1) % 1024 == 0 || p + 1 == d->records) { sha256_end(&leaf, out); sha256_add(&all, out, 32); sha256_init(&leaf); }
    }
    bool any;
    b.n = 0;
    lists_of_schemas(d, &b, &any);
    if (any) { sha256_init(&leaf); add64(&leaf, UINT64_MAX - 1); sha256_add(&leaf, b.p, b.n); sha256_end(&leaf, out); sha256_add(&all, out, 32); }
    buf_free(&b);
    sha256_end(&all, out);
    return e;
}
