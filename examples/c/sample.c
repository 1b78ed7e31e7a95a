#include "sd.h"

/* docs/format/samples.md */
#define MAX_DEPTH 64
#define MAX_SCHEMA_BYTES 1048576u
#define MAX_NDIM 64
#define MAX_ARRAY_BYTES 9223372036854775807ull
#define MAX_EMPTY_ELEMENTS 1048576u
#define MAX_BOUND_NODES 65536u
#define MAX_STRUCTS 8
#define FREE_DIMENSION UINT64_MAX

enum { K_NONE, K_BOOL, K_INT, K_BIG_INT, K_FLOAT, K_TEXT, K_BYTES, K_DATE, K_TIMEDELTA, K_DATETIME, K_OFFSET, K_ZONE,
    K_LIST = 16, K_TUPLE, K_DICT, K_NAMEDTUPLE, K_DATACLASS, K_INT_LIST, K_FLOAT_LIST,
    K_ARRAY = 32, K_SCALAR, K_TENSOR, K_SHAPED_ARRAY, K_SHAPED_TENSOR, K_OPTIONAL = 48 };

typedef struct { u32 n, dims, type, item, key, key_n; u8 kind, ndim, key_kind; u64 values; } node;
/* n: children; dims, type, key: places in the schema; item: bytes of an element; values: of an element */

typedef struct { const u8 *p; u32 n; node *v; u32 count, cap; u64 extents, scalars; } schema;

typedef struct { schema *s; u32 at; int err; } cur;
static bool need(cur *c, u32 n) { if (c->s->n - c->at >= n) return true; if (!c->err) c->err = FORMAT; return false; }
static bool fail(cur *c, int e) { if (!c->err) c->err = e; return false; }
static bool text(cur *c, u32 *off, u32 *n)
{
    if (!need(c, 4)) return false;
    *n = le32(c->s->p + c->at);
    c->at += 4;
    if (!need(c, *n)) return false;
    *off = c->at;
    c->at += *n;
    return utf8_valid(c->s->p + *off, *n, UTF8_SURROGATES) || fail(c, FORMAT);
}

typedef struct { const u8 *p; u32 n; u8 kind; } name;
static int by_name(const void *a, const void *b)
{
    const name *x = a, *y = b;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return memcmp(x->p, y->p, x->n);
}
static bool names_differ(name *t, u32 n)
{
    bool ok = true;
    if (n > 1) qsort(t, n, sizeof *t, by_name);
    for (u32 i = 1; i < n; i++) if (!by_name(&t[i - 1], &t[i])) ok = false;
    return ok;
}

static u64 sat_mul(u64 a, u64 b) { u128 r = (u128)a * b; return r > UINT64_MAX ? UINT64_MAX : (u64)r; }
static u64 sat_add(u64 a, u64 b) { return a + b < a ? UINT64_MAX : a + b; }

/* The name of a data type; 0 if this page does not have it, else its bytes (UINT64_MAX: too many). */
static u64 named_type(const char *t, u32 n, char *kind)
{
    *kind = 0;
    if (n < 3) return 0;
    char o = t[0], k = t[1];
    *kind = k;
    u32 digits = 0;
    u64 v = 0;
    for (u32 i = 2; i < n && t[i] >= '0' && t[i] <= '9'; i++, digits++) v = v > (1ull << 40) ? v : v * 10 + (u64)(t[i] - '0');
    if (!digits || t[2] == '0') return 0;
    if (k == 'M' || k == 'm') {
        if (v != 8 || digits != 1 || (o != '<' && o != '>')) return 0;
        if (n == 3) return 8;
        if (n < 6 || t[3] != '[' || t[n - 1] != ']') return 0;
        u32 i = 4, d = 0;
        for (; i < n - 1 && t[i] >= '0' && t[i] <= '9'; i++) d++;
        if (d > 9 || (d && t[4] == '0')) return 0;
        static const char *const units[] = {"Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"};
        for (int u = 0; u < 13; u++) if (strlen(units[u]) == n - 1 - i && !memcmp(units[u], t + i, n - 1 - i)) return 8;
        return 0;
    }
    if (digits != n - 2) return 0;
    if (k == 'S' || k == 'V') return o == '|' ? v : 0;
    if (k == 'U') return o == '<' || o == '>' ? v * 4 : 0;
    if (k == 'b') return o == '|' && v == 1 ? v : 0;
    if (k == 'i' || k == 'u') return v == 1 ? (o == '|' ? 1 : 0) : (v == 2 || v == 4 || v == 8) && (o == '<' || o == '>') ? v : 0;
    if (k == 'f') return (v == 2 || v == 4 || v == 8) && (o == '<' || o == '>') ? v : 0;
    if (k == 'c') return (v == 8 || v == 16) && (o == '<' || o == '>') ? v : 0;
    return 0;
}

static bool data_type(cur *c, int structs, u32 *item, u64 *values)
{
    if (!need(c, 1)) return false;
    const u8 *p = c->s->p;
    u32 n = p[c->at++];
    if (n) {
        char k;
        if (!need(c, n)) return false;
        u64 v = named_type((const char *)p + c->at, n, &k);
        c->at += n;
        if (!v) return fail(c, UNSUPPORTED);
        if (v > 2147483647) return fail(c, FORMAT);
        *item = (u32)v;
        *values = 1;
        return true;
    }
    if (structs == MAX_STRUCTS) return fail(c, FORMAT);
    if (!need(c, 8)) return false;
    *item = le32(p + c->at);
    u32 fields = le32(p + c->at + 4);
    c->at += 8;
    if (*item < 1 || *item > 2147483647) return fail(c, FORMAT);
    if (fields > (c->s->n - c->at) / 10) return fail(c, FORMAT);
    name *names = xrealloc(NULL, (fields + 1u) * sizeof *names);
    u64 sum = 0;
    for (u32 i = 0; i < fields; i++) {
        u32 off, nd, sub = 0, noff = 0, nn = 0;
        u64 prod = 1, before = 1, vals = 0;
        bool zero = false;
        if (!need(c, 4)) break;
        off = le32(p + c->at);
        c->at += 4;
        if (!text(c, &noff, &nn) || !need(c, 1)) break;
        names[i] = (name){p + noff, nn, 0};
        nd = p[c->at++];
        if (nd > MAX_NDIM) { fail(c, FORMAT); break; }
        if (!need(c, 4 * nd)) break;
        for (u32 k = 0; k < nd; k++) {
            u32 x = le32(p + c->at + 4 * k);
            if (!x) zero = true;
            if (!zero) before = sat_mul(before, x);
            prod = x && !zero ? sat_mul(prod, x) : prod;
        }
        c->at += 4 * nd;
        if (!data_type(c, structs + 1, &sub, &vals)) break;
        u64 bytes = zero ? 0 : sat_mul(prod, sub);
        if (off > *item || bytes > *item - off) { fail(c, FORMAT); break; }
        sum = sat_add(sum, zero ? before : sat_mul(prod, vals));
    }
    if (!c->err && !names_differ(names, fields)) fail(c, FORMAT);
    free(names);
    *values = sum ? sum : 1;
    return !c->err;
}

static bool one_node(cur *c, int depth, u32 *me)
{
    schema *s = c->s;
    const u8 *p = s->p;
    if (!need(c, 1)) return false;
    if (s->count == s->cap) { s->cap = s->cap ? s->cap * 2 : 16; s->v = xrealloc(s->v, (size_t)s->cap * sizeof *s->v); }
    u32 k = s->count++;
    if (me) *me = k;
    node v = {.kind = p[c->at++]};
    u32 o, n;
    switch (v.kind) {
    case K_NONE: break;
    case K_BOOL: case K_INT: case K_FLOAT: case K_DATE: s->scalars++; break;
    case K_TIMEDELTA: case K_DATETIME: s->scalars += 2; break;
    case K_OFFSET: case K_ZONE: s->scalars += 3; s->extents++; break;
    case K_BIG_INT: case K_TEXT: case K_BYTES: s->extents++; break;
    case K_INT_LIST: case K_FLOAT_LIST: s->extents++; v.item = 8; v.values = 1; v.ndim = 1; break;
    case K_OPTIONAL: s->scalars++; v.n = 1; break;
    case K_NAMEDTUPLE: case K_DATACLASS:
        if (!text(c, &o, &n)) return false; /* fall through */
    case K_LIST: case K_TUPLE: case K_DICT:
        if (!need(c, 4)) return false;
        v.n = le32(p + c->at);
        c->at += 4;
        if (v.n > s->n - c->at) return fail(c, FORMAT);
        break;
    case K_ARRAY: case K_TENSOR: case K_SHAPED_ARRAY: case K_SHAPED_TENSOR:
        if (!need(c, 1)) return false;
        v.ndim = p[c->at++];
        if (v.ndim > MAX_NDIM) return fail(c, FORMAT);
        if (v.kind == K_ARRAY || v.kind == K_TENSOR) s->extents += v.ndim;
        else {
            v.dims = c->at;
            if (!need(c, 8u * v.ndim)) return false;
            for (u32 i = 0; i < v.ndim; i++) s->extents += le64(p + c->at + 8 * i) == FREE_DIMENSION;
            c->at += 8u * v.ndim;
        } /* fall through */
    case K_SCALAR:
        v.type = c->at;
        if (v.kind == K_TENSOR || v.kind == K_SHAPED_TENSOR) {
            static const char *const torch[] = {"bfloat16", "float8_e4m3fn", "float8_e5m2"};
            if (!need(c, 1)) return false;
            n = p[c->at++];
            if (!need(c, n)) return false;
            const char *t = (const char *)p + c->at;
            c->at += n;
            v.values = 1;
            for (int i = 0; i < 3; i++) if (n == strlen(torch[i]) && !memcmp(t, torch[i], n)) v.item = i ? 1 : 2;
            if (!v.item) {
                char kind = 0;
                u64 size = named_type(t, n, &kind);
                if (!size || !strchr("biufc", kind) || t[0] == '>') return fail(c, UNSUPPORTED);
                v.item = (u32)size;
            }
        } else if (!data_type(c, 0, &v.item, &v.values)) return false;
        break;
    default: return fail(c, UNSUPPORTED);
    }
    s->v[k] = v;
    bool holds = (v.kind >= K_LIST && v.kind <= K_DATACLASS) || v.kind == K_OPTIONAL;
    if (!holds) return true;
    if (depth == MAX_DEPTH) return fail(c, FORMAT);
    bool named = v.kind >= K_DICT && v.kind <= K_DATACLASS;
    name *names = NULL;
    u32 got = 0, room = 0;
    for (u32 i = 0; i < v.n; i++) {
        u32 child, key = 0, key_n = 0;
        u8 kind = 0;
        if (named) {
            if (v.kind == K_DICT) {
                if (!need(c, 1)) break;
                kind = p[c->at++];
                if (kind > 1) { fail(c, UNSUPPORTED); break; }
            }
            if (kind) { if (!need(c, 8)) break; key = c->at; key_n = 8; c->at += 8; }
            else if (!text(c, &key, &key_n)) break;
            if (got == room) { room = room ? room * 2 : 8; names = xrealloc(names, room * sizeof *names); }
            names[got++] = (name){p + key, key_n, kind};
        }
        if (!one_node(c, depth + 1, &child)) break;
        s->v[child].key = key; s->v[child].key_n = key_n; s->v[child].key_kind = kind;
    }
    if (!c->err && !names_differ(names, got)) fail(c, FORMAT);
    free(names);
    return !c->err;
}

static int parse(const u8 *p, u32 n, schema *s)
{
    *s = (schema){.p = p, .n = n};
    cur c = {s, 0, OK};
    if (n > MAX_SCHEMA_BYTES) return FORMAT;
    if (one_node(&c, 0, NULL) && c.at != n) c.err = FORMAT;
    return c.err;
}
void schema_free(void *parsed) { if (parsed) { free(((schema *)parsed)->v); free(parsed); } }

/* ---- the sample */
typedef struct { const schema *s; const u8 *rec; u64 n; bool bound; u64 extents_at, scalars_at; u64 *place, *size; u64 e, c, pl; u32 at; buf *out; } smp;

static u64 extent(const smp *m, u64 i) { return m->bound ? le32(m->rec + m->extents_at + 4 * i) : le64(m->rec + m->extents_at + 8 * i); }
static bool is_array(u8 k) { return (k >= K_INT_LIST && k <= K_FLOAT_LIST) || (k >= K_ARRAY && k <= K_SHAPED_TENSOR); }
static bool has_payload(u8 k) { return is_array(k) || k == K_BIG_INT || k == K_TEXT || k == K_BYTES || k == K_OFFSET || k == K_ZONE; }
static void dimensions(const smp *m, const node *v, u64 *e, u64 *dim)
{
    for (u32 i = 0; i < v->ndim; i++) {
        u64 x = v->dims ? le64(m->s->p + v->dims + 8 * i) : FREE_DIMENSION;
        dim[i] = !v->dims || x == FREE_DIMENSION ? extent(m, (*e)++) : x;
    }
}

/* Sizes and places of payloads; checks 7, 8 and 9. */
static int lay_out(smp *m)
{
    const schema *s = m->s;
    u64 e = 0, k = 0, surplus = 0, dim[MAX_NDIM];
    for (u32 i = 0; i < s->count; i++) {
        const node *v = &s->v[i];
        if (!has_payload(v->kind)) continue;
        u64 size;
        if (is_array(v->kind)) {
            dimensions(m, v, &e, dim);
            u64 bytes = v->item, count = 1, before = 1;
            bool zero = false;
            for (u32 q = 0; q < v->ndim; q++) {
                if (!dim[q]) zero = true;
                if (!zero) before = sat_mul(before, dim[q]);
                if (dim[q]) { bytes = sat_mul(bytes, dim[q]); count = sat_mul(count, dim[q]); }
            }
            if (bytes > MAX_ARRAY_BYTES) return FORMAT;
            size = zero ? 0 : bytes;
            if (zero) surplus = sat_add(surplus, before);
            else if (v->values > 8ull * v->item) surplus = sat_add(surplus, sat_mul(count, v->values - 8ull * v->item));
            if (surplus > MAX_EMPTY_ELEMENTS) return FORMAT;
        } else size = extent(m, e++);
        if (size > m->n) return FORMAT;
        m->size[k++] = size;
    }
    u64 at, end, n = k;
#define PLACE(cond, align) do { k = 0; \
        for (u32 i = 0; i < s->count; i++) { \
            const node *v = &s->v[i]; \
            if (!has_payload(v->kind)) continue; \
            bool array = is_array(v->kind), large = array && m->size[k] >= 64; \
            (void)large; \
            if (cond) { at = align_up(at, align); m->place[k] = at; at += m->size[k]; if (at > m->n) return FORMAT; } \
            k++; \
        } } while (0)
    (void)n;
    if (m->bound) {
        at = 0;
        PLACE(large, 64u);
        if (s->scalars) { at = align_up(at, 8); m->scalars_at = at; at += 8 * s->scalars; if (at > m->n) return FORMAT; }
        PLACE(array && !large, 8u);
        PLACE(!array, 1u);
        end = m->extents_at;
    } else {
        at = m->scalars_at + 8 * s->scalars;
        PLACE(true, !array ? 1u : large ? 64u : 8u);
        end = m->n;
    }
    return at == end ? OK : FORMAT;
}

/* Code points of U types within an element: intervals, so that fields over one place cost no more than one. */
typedef struct { u32 from, to; u8 swap, phase; } span;
typedef struct { span *v; size_t n, cap; } spans;
static void add_span(spans *a, u32 from, u32 to, u8 swap)
{
    if (a->n && a->v[a->n - 1].to == from && a->v[a->n - 1].swap == swap) { a->v[a->n - 1].to = to; return; }
    if (a->n == a->cap) { a->cap = a->cap ? a->cap * 2 : 16; a->v = xrealloc(a->v, a->cap * sizeof *a->v); }
    a->v[a->n++] = (span){from, to, swap, (u8)(from & 3)};
}
static u32 walk_type(const u8 *p, u32 at, u32 base, u64 times, spans *a, bool *any, u32 *item)
/* Adds spans of `times` elements from base on (times 0: only looks whether there are any); gives the place behind. */
{
    u32 n = p[at++];
    if (n) {
        char k;
        *item = (u32)named_type((const char *)p + at, n, &k);
        if (k == 'U') { *any = true; if (times) add_span(a, base, base + (u32)(times * *item), p[at] == '>'); }
        return at + n;
    }
    u32 size = le32(p + at), fields = le32(p + at + 4), start = at + 8, end = start;
    *item = size;
    bool mine = false;
    for (int pass = 0; pass < 2; pass++) {
        for (u64 t = 0; t < (pass ? times : 1); t++) {
            u32 q = start;
            for (u32 i = 0; i < fields; i++) {
                u32 off = le32(p + q), nn = le32(p + q + 4);
                q += 8 + nn;
                u32 nd = p[q++];
                u64 prod = 1;
                for (u32 d = 0; d < nd; d++) { u32 x = le32(p + q + 4 * d); prod = x && prod ? sat_mul(prod, x) : 0; }
                q += 4 * nd;
                u32 sub;
                q = walk_type(p, q, base + (u32)t * size + off, pass ? prod : 0, a, &mine, &sub);
            }
            end = q;
        }
        if (!mine) break;
        *any = true;
    }
    return end;
}
static int by_span(const void *x, const void *y)
{
    const span *a = x, *b = y;
    if (a->swap != b->swap) return a->swap - b->swap;
    if (a->phase != b->phase) return a->phase - b->phase;
    return (a->from > b->from) - (a->from < b->from);
}
static int code_points(const schema *s, const node *v, const u8 *p, u64 n)
{
    bool any = false;
    u32 item;
    spans a = {0};
    int e = OK;
    if (v->kind == K_TENSOR || v->kind == K_SHAPED_TENSOR || !v->type || !n) return OK;
    walk_type(s->p, v->type, 0, 0, &a, &any, &item);
    if (!any) return OK;
    walk_type(s->p, v->type, 0, 1, &a, &any, &item);
    if (a.n > 1) qsort(a.v, a.n, sizeof *a.v, by_span);
    size_t k = 0;
    for (size_t i = 1; i < a.n; i++) {
        if (a.v[i].swap == a.v[k].swap && a.v[i].phase == a.v[k].phase && a.v[i].from <= a.v[k].to) { if (a.v[i].to > a.v[k].to) a.v[k].to = a.v[i].to; }
        else a.v[++k] = a.v[i];
    }
    for (u64 x = 0; !e && x < n; x += v->item)
        for (size_t i = 0; !e && a.n && i <= k; i++)
            for (u32 q = a.v[i].from; q < a.v[i].to; q += 4) {
                u32 c = le32(p + x + q);
                if (a.v[i].swap) c = __builtin_bswap32(c);
                if (c > 0x10ffff) { e = FORMAT; break; }
            }
    free(a.v);
    return e;
}

static u32 show_type(const u8 *p, u32 at, buf *out)
{
    u32 n = p[at++];
    if (n) { put_text(out, p + at, n); return at + n; }
    buf_f(out, "{\"size\":%u,\"fields\":[", le32(p + at));
    u32 fields = le32(p + at + 4);
    at += 8;
    for (u32 i = 0; i < fields; i++) {
        u32 nn = le32(p + at + 4);
        buf_f(out, "%s[%u,", i ? "," : "", le32(p + at));
        put_text(out, p + at + 8, nn);
        at += 8 + nn;
        u32 nd = p[at++];
        buf_s(out, ",[");
        for (u32 d = 0; d < nd; d++) buf_f(out, "%s%u", d ? "," : "", le32(p + at + 4 * d));
        at += 4 * nd;
        buf_s(out, "],");
        at = show_type(p, at, out);
        buf_c(out, ']');
    }
    buf_s(out, "]}");
    return at;
}

static void show_big(const u8 *p, u64 n, buf *out)
{
    if (n > 4096) { buf_s(out, "{\"int\":\"little-endian "); buf_hex(out, p, n); buf_s(out, "\"}"); return; } /* decimal would cost n * n */
    bool minus = n && p[n - 1] & 128;
    u32 w[1025] = {0};
    for (u64 i = 0; i < n; i++) w[i / 4] |= (u32)(minus ? (u8)~p[i] : p[i]) << 8 * (i % 4);
    u32 len = (u32)((n + 3) / 4) + 1;
    if (minus) for (u32 i = 0; i < len && !++w[i]; i++) {}
    char t[10000];
    u32 k = sizeof t;
    while (len) {
        u64 r = 0;
        for (u32 i = len; i--;) { r = r << 32 | w[i]; w[i] = (u32)(r / 10); r %= 10; }
        t[--k] = (char)('0' + r);
        while (len && !w[len - 1]) len--;
    }
    buf_s(out, minus ? "{\"int\":\"-" : "{\"int\":\"");
    buf_put(out, t + k, sizeof t - k);
    buf_s(out, "\"}");
}

static bool zone_key(const u8 *p, u64 n)
{
    if (n < 1 || n > 255) return false;
    bool begin = true;
    for (u64 i = 0; i < n; i++) {
        u8 c = p[i];
        if (c == '/') { if (begin) return false; begin = true; continue; }
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '+' || c == '-')) return false;
        begin = false;
    }
    return !begin;
}

static u64 scalar(smp *m) { return le64(m->rec + m->scalars_at + 8 * m->c++); }

static int show(smp *m, bool absent) /* absent: only counts on */
{
    const schema *s = m->s;
    const node *v = &s->v[m->at++];
    buf *o = m->out;
    const u8 *pay = NULL;
    u64 n = 0, dim[MAX_NDIM], x, f;
    i64 y;
    if (has_payload(v->kind)) {
        pay = m->rec + m->place[m->pl]; n = m->size[m->pl++];
        if (is_array(v->kind)) dimensions(m, v, &m->e, dim); else m->e++;
    }
    switch (v->kind) {
    case K_NONE: if (!absent) buf_s(o, "null"); return OK;
    case K_BOOL:
        x = scalar(m);
        if (absent) return OK;
        if (x > 1) return FORMAT;
        buf_s(o, x ? "true" : "false");
        return OK;
    case K_INT: x = scalar(m); if (!absent) buf_f(o, "{\"int\":\"%" PRId64 "\"}", (i64)x); return OK;
    case K_FLOAT: x = scalar(m); if (!absent) buf_f(o, "{\"float\":\"%016" PRIx64 "\"}", x); return OK;
    case K_DATE:
        x = scalar(m);
        if (absent) return OK;
        if (x < 1 || x > 3652059) return FORMAT;
        buf_f(o, "{\"date\":%" PRIu64 "}", x);
        return OK;
    case K_TIMEDELTA:
        y = (i64)scalar(m); x = scalar(m);
        if (absent) return OK;
        if (y < -999999999 || y > 999999999 || x > 86399999999) return FORMAT;
        buf_f(o, "{\"timedelta\":[%" PRId64 ",%" PRIu64 "]}", y, x);
        return OK;
    case K_DATETIME: case K_OFFSET: case K_ZONE:
        x = scalar(m); f = scalar(m); y = v->kind == K_DATETIME ? 0 : (i64)scalar(m);
        if (absent) return OK;
        if (x > 315537897599999999 || f > 1 || y < -86399999999 || y > 86399999999) return FORMAT;
        buf_f(o, "{\"datetime\":\"%" PRIu64 "\",\"fold\":%" PRIu64, x, f);
        if (v->kind != K_DATETIME) {
            if (v->kind == K_OFFSET ? !utf8_valid(pay, n, UTF8_SURROGATES) : !zone_key(pay, n)) return FORMAT;
            buf_f(o, ",\"offset\":%" PRId64 ",\"%s\":", y, v->kind == K_OFFSET ? "name" : "zone");
            put_text(o, pay, n);
        }
        buf_c(o, '}');
        return OK;
    case K_BIG_INT: if (!absent) show_big(pay, n, o); return OK;
    case K_TEXT:
        if (absent) return OK;
        if (!utf8_valid(pay, n, UTF8_SURROGATES)) return FORMAT;
        put_text(o, pay, n);
        return OK;
    case K_BYTES: if (!absent) { buf_s(o, "{\"bytes\":\""); buf_hex(o, pay, n); buf_s(o, "\"}"); } return OK;
    case K_INT_LIST: case K_FLOAT_LIST:
        if (absent) return OK;
        buf_s(o, "{\"list\":[");
        for (u64 i = 0; i < n; i += 8) {
            if (v->kind == K_INT_LIST) buf_f(o, "%s{\"int\":\"%" PRId64 "\"}", i ? "," : "", (i64)le64(pay + i));
            else buf_f(o, "%s{\"float\":\"%016" PRIx64 "\"}", i ? "," : "", le64(pay + i));
        }
        buf_s(o, "]}");
        return OK;
    case K_ARRAY: case K_SCALAR: case K_TENSOR: case K_SHAPED_ARRAY: case K_SHAPED_TENSOR:
        if (absent) return OK;
        if (code_points(s, v, pay, n)) return FORMAT;
        buf_s(o, v->kind == K_SCALAR ? "{\"scalar\":\"" : "{\"array\":\"");
        buf_hex(o, pay, n);
        buf_s(o, "\",\"type\":");
        show_type(s->p, v->type, o);
        if (v->kind != K_SCALAR) {
            buf_s(o, ",\"shape\":[");
            for (u32 i = 0; i < v->ndim; i++) buf_f(o, "%s%" PRIu64, i ? "," : "", dim[i]);
            buf_c(o, ']');
        }
        buf_c(o, '}');
        return OK;
    case K_OPTIONAL:
        x = scalar(m);
        if (absent) return show(m, true);
        if (x > 1) return FORMAT;
        if (!x) { buf_s(o, "null"); return show(m, true); }
        return show(m, false);
    default: break;
    }
    bool dict = v->kind == K_DICT || v->kind == K_DATACLASS;
    if (!absent) buf_s(o, dict ? "{\"dict\":[" : v->kind == K_LIST ? "{\"list\":[" : "{\"tuple\":[");
    for (u32 i = 0; i < v->n; i++) {
        if (!absent && i) buf_c(o, ',');
        if (dict && !absent) {
            const node *w = &s->v[m->at];
            buf_c(o, '[');
            if (w->key_kind) buf_f(o, "{\"int\":\"%" PRId64 "\"}", (i64)le64(s->p + w->key));
            else put_text(o, s->p + w->key, w->key_n);
            buf_c(o, ',');
        }
        int e = show(m, absent);
        if (e) return e;
        if (dict && !absent) buf_c(o, ']');
    }
    if (!absent) buf_s(o, "]}");
    return OK;
}

int sample_json(ds *d, seg *sg, const u8 *p, size_t n, buf *out)
{
    schema own, *s = &own;
    smp m = {.rec = p, .n = n, .out = out};
    int e;
    m.bound = !(n >= 3 && p[0] == 0x8d && p[1] == 0x53 && p[2] == 0x4d);
    if (m.bound) {
        if (n < 4) return FORMAT;
        u32 k = le32(p + n - 4);
        if (k >= sg->nschemas) return FORMAT;
        schema_bytes *b = &d->schemas[sg->schemas[k]];
        if (!b->tried) {
            b->tried = true;
            b->parsed = xrealloc(NULL, sizeof own);
            b->parse_err = parse(b->p, b->n, b->parsed);
            if (!b->parse_err && ((schema *)b->parsed)->count > MAX_BOUND_NODES) b->parse_err = FORMAT;
        }
        if (b->parse_err) return b->parse_err;
        s = b->parsed;
        if (4 + 4 * s->extents + 8 * s->scalars > n) return FORMAT;
        m.extents_at = n - 4 - 4 * s->extents;
    } else {
        if (n < 8) return FORMAT;
        if (p[3] != 1) return UNSUPPORTED;
        u32 k = le32(p + 4);
        if (k > MAX_SCHEMA_BYTES || k > n - 8) return FORMAT;
        if ((e = parse(p + 8, k, s))) { free(own.v); return e; }
        u64 table = align_up(8ull + k, 8);
        if (table + 8 * s->extents + 8 * s->scalars > n) { free(own.v); return FORMAT; }
        m.extents_at = table;
        m.scalars_at = table + 8 * s->extents;
    }
    m.s = s;
    u32 k = 0;
    for (u32 i = 0; i < s->count; i++) k += has_payload(s->v[i].kind);
    m.place = xrealloc(NULL, (k + 1u) * 2 * sizeof(u64));
    m.size = m.place + k + 1;
    size_t before = out->n;
    e = lay_out(&m);
    if (!e) e = show(&m, false);
    if (e) out->n = before;
    free(m.place);
    if (!m.bound) free(own.v);
    return e;
}
