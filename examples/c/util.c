#include "sd.h"
#include <stdarg.h>

const char *err_name(int e)
{
    static const char *const names[] = {"ok", "DatasetNotFoundError", "ManifestError", "UnsupportedVersionError",
        "FormatError", "TruncatedFileError", "MissingBinError", "CorruptRecordError", "RecordTooLargeError",
        "RecordDeletedError", "no such position", "absent", "input/output error"};
    return names[e];
}

void *xrealloc(void *p, size_t n)
{
    void *q = realloc(p, n ? n : 1);
    if (!q) { fprintf(stderr, "sdread: out of memory (%zu bytes)\n", n); exit(3); }
    return q;
}

void buf_room(buf *b, size_t more)
{
    if (b->cap - b->n >= more) return;
    size_t cap = b->cap + b->cap / 2;
    if (cap < b->n + more) cap = b->n + more;
    if (cap < 64) cap = 64;
    b->p = xrealloc(b->p, cap);
    b->cap = cap;
}
void buf_put(buf *b, const void *p, size_t n) { if (!n) return; buf_room(b, n); memcpy(b->p + b->n, p, n); b->n += n; }
void buf_c(buf *b, u8 c) { buf_put(b, &c, 1); }
void buf_s(buf *b, const char *s) { buf_put(b, s, strlen(s)); }
void buf_f(buf *b, const char *f, ...)
{
    char t[512];
    va_list a;
    va_start(a, f);
    int n = vsnprintf(t, sizeof t, f, a);
    va_end(a);
    if (n > 0) buf_put(b, t, (size_t)n < sizeof t ? (size_t)n : sizeof t - 1);
}
void buf_hex(buf *b, const u8 *p, size_t n)
{
    static const char d[] = "0123456789abcdef";
    buf_room(b, 2 * n);
    for (size_t i = 0; i < n; i++) { b->p[b->n++] = (u8)d[p[i] >> 4]; b->p[b->n++] = (u8)d[p[i] & 15]; }
}
void buf_free(buf *b) { free(b->p); b->p = NULL; b->n = b->cap = 0; }

u16 le16(const u8 *p) { return (u16)(p[0] | p[1] << 8); }
u32 le32(const u8 *p) { return (u32)p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 | (u32)p[3] << 24; }
u64 le64(const u8 *p) { return le32(p) | (u64)le32(p + 4) << 32; }
u64 hash64(const void *p, size_t n) { return XXH3_64bits(n ? p : "", n); }
bool all_zero(const u8 *p, size_t n) { for (size_t i = 0; i < n; i++) if (p[i]) return false; return true; }

bool hex_text(const u8 *p, size_t n, size_t want, u64 *value)
{
    u64 v = 0;
    if (n != want) return false;
    for (size_t i = 0; i < n; i++) {
        unsigned c = p[i];
        if (c >= '0' && c <= '9') c -= '0';
        else if (c >= 'a' && c <= 'f') c -= 'a' - 10;
        else return false;
        v = v << 4 | c;
    }
    if (value) *value = v;
    return true;
}

bool utf8_valid(const u8 *p, size_t n, int how)
{
    for (size_t i = 0; i < n;) {
        u32 c = p[i];
        unsigned k;
        if (c < 0x80) { i++; continue; }
        if (c >= 0xc2 && c <= 0xdf) { k = 1; c &= 0x1f; }
        else if (c >= 0xe0 && c <= 0xef) { k = 2; c &= 0xf; }
        else if (c >= 0xf0 && c <= 0xf4) { k = 3; c &= 7; }
        else return false;
        if (n - i <= k) return false;
        for (unsigned m = 1; m <= k; m++) { if ((p[i + m] & 0xc0) != 0x80) return false; c = c << 6 | (p[i + m] & 0x3f); }
        if ((k == 2 && c < 0x800) || (k == 3 && (c < 0x10000 || c > 0x10ffff))) return false;
        if (how == UTF8_STRICT && c >= 0xd800 && c <= 0xdfff) return false;
        i += k + 1;
    }
    return true;
}
size_t utf8_count(const u8 *p, size_t n) { size_t k = 0; for (size_t i = 0; i < n; i++) k += (p[i] & 0xc0) != 0x80; return k; }

u64 mul_p(u64 a, u64 b) { return (u64)((u128)a * b % DIGEST_P); }
#define DIGEST_B 0x0f1e2d3c4b5a6979ull
u64 pow_b(u64 n) { u64 r = 1, x = DIGEST_B % DIGEST_P; for (; n; n >>= 1) { if (n & 1) r = mul_p(r, x); x = mul_p(x, x); } return r; }
u64 digest_add(u64 d, u64 h) { return (u64)(((u128)d * DIGEST_B + h + 1) % DIGEST_P); }
u64 digest_join(u64 a, u64 c, u64 n) { return (u64)(((u128)mul_p(a, pow_b(n)) + c) % DIGEST_P); }

static const u32 K[64] = {
    0x428a2f98,0x71374491,0xb5c0fbcf,0xe9b5dba5,0x3956c25b,0x59f111f1,0x923f82a4,0xab1c5ed5,0xd807aa98,0x12835b01,0x243185be,
    0x550c7dc3,0x72be5d74,0x80deb1fe,0x9bdc06a7,0xc19bf174,0xe49b69c1,0xefbe4786,0x0fc19dc6,0x240ca1cc,0x2de92c6f,0x4a7484aa,
    0x5cb0a9dc,0x76f988da,0x983e5152,0xa831c66d,0xb00327c8,0xbf597fc7,0xc6e00bf3,0xd5a79147,0x06ca6351,0x14292967,0x27b70a85,
    0x2e1b2138,0x4d2c6dfc,0x53380d13,0x650a7354,0x766a0abb,0x81c2c92e,0x92722c85,0xa2bfe8a1,0xa81a664b,0xc24b8b70,0xc76c51a3,
    0xd192e819,0xd6990624,0xf40e3585,0x106aa070,0x19a4c116,0x1e376c08,0x2748774c,0x34b0bcb5,0x391c0cb3,0x4ed8aa4a,0x5b9cca4f,
    0x682e6ff3,0x748f82ee,0x78a5636f,0x84c87814,0x8cc70208,0x90befffa,0xa4506ceb,0xbef9a3f7,0xc67178f2};
static u32 ror(u32 x, int n) { return x >> n | x << (32 - n); }
static void sha_block(sha256 *s, const u8 *p)
{
    u32 w[64], v[8];
    for (int i = 0; i < 16; i++) w[i] = (u32)p[4*i] << 24 | (u32)p[4*i+1] << 16 | (u32)p[4*i+2] << 8 | p[4*i+3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i-16] + (ror(w[i-15], 7) ^ ror(w[i-15], 18) ^ w[i-15] >> 3) + w[i-7] + (ror(w[i-2], 17) ^ ror(w[i-2], 19) ^ w[i-2] >> 10);
    memcpy(v, s->h, sizeof v);
    for (int i = 0; i < 64; i++) {
        u32 t1 = v[7] + (ror(v[4], 6) ^ ror(v[4], 11) ^ ror(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + K[i] + w[i];
        u32 t2 = (ror(v[0], 2) ^ ror(v[0], 13) ^ ror(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 28);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) s->h[i] += v[i];
}
void sha256_init(sha256 *s)
{
    static const u32 h[8] = {0x6a09e667,0xbb67ae85,0x3c6ef372,0xa54ff53a,0x510e527f,0x9b05688c,0x1f83d9ab,0x5be0cd19};
    memcpy(s->h, h, sizeof h);
    s->n = 0; s->k = 0;
}
void sha256_add(sha256 *s, const void *q, size_t n)
{
    const u8 *p = q;
    s->n += n;
    while (n) {
        if (!s->k && n >= 64) { sha_block(s, p); p += 64; n -= 64; continue; }
        size_t m = 64 - s->k < n ? 64 - s->k : n;
        memcpy(s->b + s->k, p, m);
        s->k += (unsigned)m; p += m; n -= m;
        if (s->k == 64) { sha_block(s, s->b); s->k = 0; }
    }
}
void sha256_end(sha256 *s, u8 out[32])
{
    u64 bits = s->n * 8;
    u8 t[72] = {0x80};
    size_t pad = (s->k < 56 ? 56 : 120) - s->k;
    for (int i = 0; i < 8; i++) t[pad + (size_t)i] = (u8)(bits >> (56 - 8 * i));
    sha256_add(s, t, pad + 8);
    for (int i = 0; i < 8; i++) { out[4*i] = (u8)(s->h[i] >> 24); out[4*i+1] = (u8)(s->h[i] >> 16); out[4*i+2] = (u8)(s->h[i] >> 8); out[4*i+3] = (u8)s->h[i]; }
}

static int b64(u8 c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}
bool base64(const u8 *p, size_t n, buf *out)
{
    if (n % 4) return false;
    for (size_t i = 0; i < n; i += 4) {
        int a = b64(p[i]), b = b64(p[i+1]), c = b64(p[i+2]), d = b64(p[i+3]);
        bool last = i + 4 == n;
        if (a < 0 || b < 0) return false;
        if (last && p[i+3] == '=' && p[i+2] == '=') {
            if (b & 15) return false;
            buf_c(out, (u8)(a << 2 | b >> 4));
        } else if (last && p[i+3] == '=') {
            if (c < 0 || (c & 3)) return false;
            buf_c(out, (u8)(a << 2 | b >> 4)); buf_c(out, (u8)(b << 4 | c >> 2));
        } else {
            if (c < 0 || d < 0) return false;
            u8 t[3] = {(u8)(a << 2 | b >> 4), (u8)(b << 4 | c >> 2), (u8)(c << 6 | d)};
            buf_put(out, t, 3);
        }
    }
    return true;
}
