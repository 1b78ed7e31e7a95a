#include "sd.h"

/* RFC 8259, with the restrictions of FORMAT.md section 5, rule 2 (of UTF-8 the caller takes care). */
typedef struct { json *j; size_t i; unsigned depth, max; buf keys; } par;

static u32 add(json *j, u32 type, size_t off)
{
    if (j->count == j->cap) { j->cap = j->cap ? j->cap * 2 : 64; j->v = xrealloc(j->v, (size_t)j->cap * sizeof *j->v); }
    j->v[j->count] = (jnode){type, (u32)off, 0, 0};
    return j->count++;
}
static void blank(par *p) { while (p->i < p->j->n && (p->j->s[p->i] == ' ' || (p->j->s[p->i] >= 9 && p->j->s[p->i] <= 13 && p->j->s[p->i] != 11 && p->j->s[p->i] != 12))) p->i++; }

static int hex4(const u8 *s)
{
    int v = 0;
    for (int k = 0; k < 4; k++) {
        int c = s[k];
        if (c >= '0' && c <= '9') c -= '0';
        else if (c >= 'a' && c <= 'f') c -= 'a' - 10;
        else if (c >= 'A' && c <= 'F') c -= 'A' - 10;
        else return -1;
        v = v << 4 | c;
    }
    return v;
}

static bool text(par *p)
{
    const u8 *s = p->j->s;
    size_t n = p->j->n;
    if (p->i >= n || s[p->i] != '"') return false;
    size_t from = ++p->i;
    for (; p->i < n && s[p->i] != '"'; p->i++) {
        if (s[p->i] < 0x20) return false;
        if (s[p->i] != '\\') continue;
        if (++p->i >= n) return false;
        if (s[p->i] == 'u') {
            if (n - p->i < 5 || hex4(s + p->i + 1) < 0) return false;
            p->i += 4;
        } else if (!memchr("\"\\/bfnrt", s[p->i], 8)) return false;
    }
    if (p->i >= n) return false;
    u32 k = add(p->j, J_TEXT, from);
    p->j->v[k].len = (u32)(p->i - from);
    p->j->v[k].next = k + 1;
    p->i++;
    return true;
}

static bool number(par *p)
{
    const u8 *s = p->j->s;
    size_t n = p->j->n, from = p->i, i = from;
    bool real = false;
#define DIGIT(x) ((x) < n && s[x] >= '0' && s[x] <= '9')
    if (i < n && s[i] == '-') i++;
    if (!DIGIT(i)) return false;
    if (s[i] == '0') i++;
    else while (DIGIT(i)) i++;
    size_t int_end = i;
    if (i < n && s[i] == '.') { real = true; i++; if (!DIGIT(i)) return false; while (DIGIT(i)) i++; }
    if (i < n && (s[i] == 'e' || s[i] == 'E')) {
        real = true; i++;
        if (i < n && (s[i] == '+' || s[i] == '-')) i++;
        if (!DIGIT(i)) return false;
        while (DIGIT(i)) i++;
    }
    u32 k = add(p->j, real ? J_FLOAT : J_INT, from);
    p->j->v[k].len = (u32)(i - from);
    p->j->v[k].next = k + 1;
    p->i = i;
    if (real) { double x = json_double(p->j, k); return x - x == 0; }
    size_t d = from + (s[from] == '-');
    return int_end - d < 19 || (int_end - d == 19 && memcmp(s + d, "9223372036854775807", 19) <= 0);
}

typedef struct { const u8 *p; size_t n; size_t off; } keyref;
static int by_key(const void *a, const void *b)
{
    const keyref *x = a, *y = b;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return memcmp(x->p, y->p, x->n);
}
static bool keys_differ(par *p, u32 object)
{
    json *j = p->j;
    u32 end = j->v[object].next, m = 0;
    for (u32 k = object + 1; k < end; k = j->v[k + 1].next) m++;
    if (m < 2) return true;
    keyref *r = xrealloc(NULL, (size_t)m * sizeof *r);
    buf b = {0};
    m = 0;
    for (u32 k = object + 1; k < end; k = j->v[k + 1].next) { r[m].off = b.n; json_text(j, k, &b); r[m].n = b.n - r[m].off; m++; }
    buf_c(&b, 0);
    for (u32 i = 0; i < m; i++) r[i].p = b.p + r[i].off;
    qsort(r, m, sizeof *r, by_key);
    bool ok = true;
    for (u32 i = 1; i < m; i++) if (!by_key(&r[i - 1], &r[i])) ok = false;
    free(r);
    buf_free(&b);
    return ok;
}

static bool value(par *p)
{
    json *j = p->j;
    blank(p);
    if (p->i >= j->n) return false;
    u8 c = j->s[p->i];
    if (c == '"') return text(p);
    if (c == '-' || (c >= '0' && c <= '9')) return number(p);
    static const struct { const char *w; u32 t; } words[] = {{"null", J_NULL}, {"true", J_TRUE}, {"false", J_FALSE}};
    for (int k = 0; k < 3; k++) {
        size_t l = strlen(words[k].w);
        if (j->n - p->i >= l && !memcmp(j->s + p->i, words[k].w, l)) {
            u32 m = add(j, words[k].t, p->i);
            j->v[m].len = (u32)l; j->v[m].next = m + 1;
            p->i += l;
            return true;
        }
    }
    if (c != '[' && c != '{') return false;
    if (++p->depth > p->max) return false;
    u32 me = add(j, c == '[' ? J_ARRAY : J_OBJECT, p->i);
    u8 close = c == '[' ? ']' : '}';
    p->i++;
    blank(p);
    if (p->i < j->n && j->s[p->i] == close) p->i++;
    else for (;;) {
        if (c == '{') {
            blank(p);
            if (!text(p)) return false;
            blank(p);
            if (p->i >= j->n || j->s[p->i] != ':') return false;
            p->i++;
        }
        if (!value(p)) return false;
        blank(p);
        if (p->i >= j->n) return false;
        if (j->s[p->i] == close) { p->i++; break; }
        if (j->s[p->i] != ',') return false;
        p->i++;
    }
    j->v[me].len = (u32)(p->i - j->v[me].off);
    j->v[me].next = j->count;
    p->depth--;
    return c == '[' || keys_differ(p, me);
}

bool json_parse(json *j, const u8 *s, size_t n, unsigned max_depth)
{
    *j = (json){.s = s, .n = n};
    if (n > 0x7fffffff || !utf8_valid(s, n, UTF8_STRICT)) return false;
    par p = {.j = j, .max = max_depth};
    if (!value(&p)) return false;
    blank(&p);
    return p.i == n;
}
void json_free(json *j) { free(j->v); j->v = NULL; j->count = j->cap = 0; }

void json_text(const json *j, u32 node, buf *out)
{
    const u8 *s = j->s + j->v[node].off, *e = s + j->v[node].len;
    while (s < e) {
        const u8 *q = memchr(s, '\\', (size_t)(e - s));
        if (!q) q = e;
        buf_put(out, s, (size_t)(q - s));
        if (q == e) return;
        s = q + 2;
        switch (q[1]) {
        case 'b': buf_c(out, 8); break;
        case 'f': buf_c(out, 12); break;
        case 'n': buf_c(out, 10); break;
        case 'r': buf_c(out, 13); break;
        case 't': buf_c(out, 9); break;
        case 'u': {
            u32 c = (u32)hex4(q + 2);
            s = q + 6;
            if (c >= 0xd800 && c < 0xdc00 && e - s >= 6 && s[0] == '\\' && s[1] == 'u') {
                u32 l = (u32)hex4(s + 2);
                if (l >= 0xdc00 && l < 0xe000) { c = 0x10000 + ((c & 0x3ff) << 10) + (l & 0x3ff); s += 6; }
            }
            if (c < 0x80) buf_c(out, (u8)c);
            else if (c < 0x800) { buf_c(out, (u8)(0xc0 | c >> 6)); buf_c(out, (u8)(0x80 | (c & 63))); }
            else if (c < 0x10000) { buf_c(out, (u8)(0xe0 | c >> 12)); buf_c(out, (u8)(0x80 | (c >> 6 & 63))); buf_c(out, (u8)(0x80 | (c & 63))); }
            else { buf_c(out, (u8)(0xf0 | c >> 18)); buf_c(out, (u8)(0x80 | (c >> 12 & 63))); buf_c(out, (u8)(0x80 | (c >> 6 & 63))); buf_c(out, (u8)(0x80 | (c & 63))); }
            break;
        }
        default: buf_c(out, q[1]);
        }
    }
}
bool json_is(const json *j, u32 node, const char *t)
{
    if (j->v[node].type != J_TEXT) return false;
    buf b = {0};
    json_text(j, node, &b);
    bool r = b.n == strlen(t) && !memcmp(b.n ? b.p : (const u8 *)"", t, b.n);
    buf_free(&b);
    return r;
}
u32 json_get(const json *j, u32 object, const char *key)
{
    if (j->v[object].type != J_OBJECT) return 0;
    for (u32 k = object + 1; k < j->v[object].next; k = j->v[k + 1].next) if (json_is(j, k, key)) return k + 1;
    return 0;
}
u32 json_count(const json *j, u32 node)
{
    u32 m = 0;
    bool o = j->v[node].type == J_OBJECT;
    for (u32 k = node + 1; k < j->v[node].next; k = j->v[k + o].next) m++;
    return m;
}
u32 json_at(const json *j, u32 array, u32 i)
{
    for (u32 k = array + 1; k < j->v[array].next; k = j->v[k].next) if (!i--) return k;
    return 0;
}
bool json_int(const json *j, u32 node, i64 *out)
{
    if (j->v[node].type != J_INT) return false;
    const u8 *s = j->s + j->v[node].off;
    u32 n = j->v[node].len;
    bool minus = *s == '-';
    i64 v = 0;
    for (u32 i = minus; i < n; i++) v = v * 10 + (s[i] - '0');
    *out = minus ? -v : v;
    return true;
}
double json_double(const json *j, u32 node)
{
    char t[64], *c = t;
    u32 n = j->v[node].len;
    if (n >= sizeof t) c = xrealloc(NULL, n + 1u);
    memcpy(c, j->s + j->v[node].off, n);
    c[n] = 0;
    double x = strtod(c, NULL);
    if (c != t) free(c);
    return x;
}
unsigned json_depth(const json *j, u32 node) /* iterative: counts open ends */
{
    unsigned depth = 0, most = 0;
    u32 ends[256];
    for (u32 k = node; k < j->v[node].next; k++) {
        while (depth && k >= ends[depth - 1]) depth--;
        if (j->v[k].type >= J_ARRAY) { if (depth >= 255) return 256; ends[depth++] = j->v[k].next; if (depth > most) most = depth; }
    }
    return most;
}
static u64 text_bytes(const u8 *p, size_t n)
{
    u64 k = 2;
    for (size_t i = 0; i < n; i++)
        k += p[i] == '"' || p[i] == '\\' ? 2 : p[i] >= 0x20 ? 1 : p[i] == 8 || p[i] == 9 || p[i] == 10 || p[i] == 12 || p[i] == 13 ? 2 : 6;
    return k;
}
u64 json_bytes(const json *j, u32 node)
{
    u64 n = 0;
    buf b = {0};
    for (u32 k = node; k < j->v[node].next; k++) {
        const jnode *v = &j->v[k];
        if (v->type == J_TEXT) { b.n = 0; json_text(j, k, &b); n += text_bytes(b.p, b.n); }
        else if (v->type >= J_ARRAY) {
            u32 m = json_count(j, k);
            n += 2 + (m ? m - 1 : 0) + (v->type == J_OBJECT ? m : 0);
        } else n += v->len;
    }
    buf_free(&b);
    return n;
}

void put_text(buf *out, const u8 *p, size_t n)
{
    buf_c(out, '"');
    for (size_t i = 0; i < n; i++) {
        u8 c = p[i];
        if (c == '"' || c == '\\') { buf_c(out, '\\'); buf_c(out, c); }
        else if (c < 0x20 || c == 0x7f) buf_f(out, "\\u%04x", c);
        else if (c == 0xed && n - i >= 3 && p[i + 1] >= 0xa0) { /* a surrogate */
            buf_f(out, "\\u%04x", 0xd000u | (p[i + 1] & 0x3fu) << 6 | (p[i + 2] & 0x3fu));
            i += 2;
        } else buf_c(out, c);
    }
    buf_c(out, '"');
}

typedef struct { buf k; u32 v; } member;
static int by_member(const void *a, const void *b)
{
    const member *x = a, *y = b;
    size_t n = x->k.n < y->k.n ? x->k.n : y->k.n;
    int c = n ? memcmp(x->k.p, y->k.p, n) : 0;
    return c ? c : (x->k.n > y->k.n) - (x->k.n < y->k.n);
}
/* canonical: for comparing. Keys sorted, integers beyond 2^53 as texts, numbers as floats. */
void json_shown(const json *j, u32 node, buf *out, bool canonical)
{
    const jnode *v = &j->v[node];
    if (v->type == J_TEXT) {
        buf b = {0};
        json_text(j, node, &b);
        put_text(out, b.p, b.n);
        buf_free(&b);
    } else if (v->type == J_ARRAY) {
        buf_c(out, '[');
        for (u32 k = node + 1; k < v->next; k = j->v[k].next) { if (k > node + 1) buf_c(out, ','); json_shown(j, k, out, canonical); }
        buf_c(out, ']');
    } else if (v->type == J_OBJECT) {
        u32 m = json_count(j, node), i = 0;
        member *t = xrealloc(NULL, (m + 1u) * sizeof *t);
        for (u32 k = node + 1; k < v->next; k = j->v[k + 1].next) { t[i].k = (buf){0}; json_text(j, k, &t[i].k); t[i++].v = k + 1; }
        if (canonical) qsort(t, m, sizeof *t, by_member);
        buf_c(out, '{');
        for (i = 0; i < m; i++) {
            if (i) buf_c(out, ',');
            put_text(out, t[i].k.p, t[i].k.n);
            buf_c(out, ':');
            json_shown(j, t[i].v, out, canonical);
            buf_free(&t[i].k);
        }
        buf_c(out, '}');
        free(t);
    } else if (canonical && v->type == J_INT) {
        i64 x = 0;
        json_int(j, node, &x);
        if (x > (1ll << 53) || x < -(1ll << 53)) buf_f(out, "\"%" PRId64 "\"", x);
        else buf_f(out, "%.17g", (double)x);
    } else if (canonical && v->type == J_FLOAT) {
        double x = json_double(j, node);
        buf_f(out, "%.17g", x == 0 ? 0.0 : x);
    } else buf_put(out, j->s + v->off, v->len);
}
