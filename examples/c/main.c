#include "sd.h"
#include <ftw.h>
#include <sys/wait.h>
#include <time.h>

static bool load(const char *path, buf *b)
{
    FILE *f = fopen(path, "rb");
    if (!f) return false;
    size_t k;
    do { buf_room(b, 65536); k = fread(b->p + b->n, 1, 65536, f); b->n += k; } while (k);
    fclose(f);
    return true;
}

/* ---- a case's copy of a dataset */
static int rm(const char *p, const struct stat *s, int t, struct FTW *f) { (void)s; (void)t; (void)f; return remove(p); }
static void remove_all(const char *p) { nftw(p, rm, 16, FTW_DEPTH | FTW_PHYS); }
static bool copy_all(const char *from, const char *to)
{
    pid_t p = fork();
    if (!p) { execlp("cp", "cp", "-r", "--", from, to, (char *)NULL); _exit(127); }
    int st;
    return p > 0 && waitpid(p, &st, 0) == p && st == 0;
}
static char *text_of(const json *j, u32 node)
{
    buf b = {0};
    json_text(j, node, &b);
    buf_c(&b, 0);
    return (char *)b.p;
}
static char *path_in(const char *dir, const json *j, u32 node)
{
    char *t = text_of(j, node), *r = xrealloc(NULL, strlen(dir) + strlen(t) + 2);
    sprintf(r, "%s/%s", dir, t);
    free(t);
    for (char *q = r + strlen(dir) + 1; (q = strchr(q, '/')); *q++ = '/') { *q = 0; mkdir(r, 0777); }
    return r;
}
static void put_piece(FILE *f, const char *t, i64 times)
{
    for (i64 i = 0; i < times; i++)
        for (const char *q = t; *q;) {
            const char *id = strstr(q, "%ID%");
            size_t n = id ? (size_t)(id - q) : strlen(q);
            fwrite(q, 1, n, f);
            q += n;
            if (id) { fprintf(f, "%032" PRIx64, (u64)i); q += 4; }
        }
}
static bool edit(const char *dir, const json *j, u32 e)
{
    bool ok = true;
    u32 k;
    char *p = path_in(dir, j, json_get(j, e, "file"));
    i64 v;
    if (json_get(j, e, "remove")) ok = !remove(p);
    else if ((k = json_get(j, e, "rename"))) { char *q = path_in(dir, j, k); ok = !rename(p, q); free(q); }
    else if ((k = json_get(j, e, "link"))) { char *t = text_of(j, k); unlink(p); ok = !symlink(t, p); free(t); }
    else if (json_get(j, e, "folder")) { unlink(p); ok = !mkdir(p, 0777); }
    else if (json_get(j, e, "fifo")) { unlink(p); ok = !mkfifo(p, 0666); }
    else if ((k = json_get(j, e, "size"))) {
        int fd = open(p, O_RDWR | O_CREAT, 0666);
        ok = json_int(j, k, &v) && fd >= 0 && !ftruncate(fd, v);
        if (fd >= 0) close(fd);
    } else if ((k = json_get(j, e, "offset"))) {
        char *t = text_of(j, json_get(j, e, "hex"));
        int fd = open(p, O_RDWR | O_CREAT, 0666);
        ok = json_int(j, k, &v) && fd >= 0;
        for (char *q = t; ok && *q; q += 2) {
            char x[3] = {q[0], q[1], 0};
            u8 c = (u8)strtoul(x, NULL, 16);
            ok = pwrite(fd, &c, 1, v++) == 1;
        }
        if (fd >= 0) close(fd);
        free(t);
    } else if ((k = json_get(j, e, "text"))) {
        unlink(p);
        FILE *f = fopen(p, "wb");
        ok = f;
        for (u32 m = k + 1; ok && m < j->v[k].next; m = j->v[m].next) {
            v = 1;
            bool pair = j->v[m].type == J_ARRAY;
            char *t = text_of(j, pair ? m + 1 : m);
            if (pair) json_int(j, json_at(j, m, 1), &v);
            put_piece(f, t, v);
            free(t);
        }
        if (f) fclose(f);
    } else ok = false;
    if (!ok) { buf b = {0}; json_shown(j, e, &b, false); fprintf(stderr, "edit failed: %.*s: %s\n", (int)(b.n < 200 ? b.n : 200), b.p, strerror(errno)); buf_free(&b); }
    free(p);
    return ok;
}

/* ---- comparing */
typedef struct { const char *name; unsigned differ; } res;
static void differs(res *r, const char *what, const buf *got, const json *j, u32 want)
{
    buf w = {0};
    json_shown(j, want, &w, false);
    if (r->differ++ < 6) printf("  %s: %s: got %.*s, wanted %.*s\n", r->name, what, (int)(got->n < 300 ? got->n : 300), got->p ? (char *)got->p : "", (int)(w.n < 300 ? w.n : 300), w.p);
    buf_free(&w);
}
static bool same(const json *j, u32 want, const buf *got)
{
    json g;
    buf a = {0}, b = {0};
    bool r = json_parse(&g, got->p, got->n, 400);
    if (r) {
        json_shown(&g, 0, &a, true);
        json_shown(j, want, &b, true);
        r = a.n == b.n && !memcmp(a.p, b.p, a.n);
    }
    buf_free(&a); buf_free(&b); json_free(&g);
    return r;
}
/* got: JSON. An array in want: alternatives. */
static void expect(res *r, const char *what, const json *j, u32 want, const buf *got)
{
    if (j->v[want].type == J_ARRAY) {
        for (u32 k = want + 1; k < j->v[want].next; k = j->v[k].next) if (same(j, k, got)) return;
    } else if (same(j, want, got)) return;
    differs(r, what, got, j, want);
}
static void answer(buf *b, int e, const buf *raw) /* hash or error */
{
    b->n = 0;
    if (e) buf_f(b, "\"%s\"", err_name(e));
    else buf_f(b, "\"%016" PRIx64 "\"", hash64(raw->p, raw->n));
}

static int decode(ds *d, u64 p, const buf *rec, buf *out)
{
    if (!d->has_codec || strcmp(d->codec, "sample")) return UNSUPPORTED;
    return sample_json(d, sd_segment(d, p), rec->p, rec->n, out);
}

static unsigned one_case(const json *j, u32 c, const char *dir, const char *root)
{
    char *name = text_of(j, json_get(j, c, "name")), *set = text_of(j, json_get(j, c, "dataset"));
    char from[4096], what[200];
    res r = {name, 0};
    snprintf(from, sizeof from, "%s/datasets/%s", root, set);
    remove_all(dir);
    u32 edits = json_get(j, c, "edits"), v = json_get(j, c, "verdict"), k;
    bool ok = copy_all(from, dir);
    if (ok && edits) for (u32 e = edits + 1; ok && e < j->v[edits].next; e = j->v[e].next) ok = edit(dir, j, e);
    if (!ok) { printf("  %s: cannot be made\n", name); r.differ++; }
    ds d;
    buf b = {0}, rec = {0};
    int e = sd_open(&d, dir);
    if (e) buf_f(&b, "\"%s\"", err_name(e)); else buf_s(&b, "true");
    expect(&r, "opens", j, json_get(j, v, "opens"), &b);
    if (!e && j->v[json_get(j, v, "opens")].type == J_TRUE) {
        if ((k = json_get(j, v, "records"))) {
            u64 p = 0;
            u64 n = json_count(j, k);
            if (n != d.records) { b.n = 0; buf_f(&b, "%" PRIu64, d.records); differs(&r, "number of records", &b, j, k); }
            else for (u32 m = k + 1; m < j->v[k].next; m = j->v[m].next, p++) {
                e = sd_read(&d, p, &rec);
                answer(&b, e, &rec);
                snprintf(what, sizeof what, "record %" PRIu64, p);
                expect(&r, what, j, m, &b);
            }
        }
        if ((k = json_get(j, v, "keys"))) {
            u64 p = 0;
            for (u32 m = k + 1; m < j->v[k].next; m = j->v[m].next, p++) {
                bool has;
                e = sd_key(&d, p, &rec, &has);
                b.n = 0;
                if (e) buf_f(&b, "\"%s\"", err_name(e)); else if (has) put_text(&b, rec.p, rec.n); else buf_s(&b, "null");
                snprintf(what, sizeof what, "key of %" PRIu64, p);
                expect(&r, what, j, m, &b);
            }
        }
        if ((k = json_get(j, v, "find"))) for (u32 m = k + 1; m < j->v[k].next; m = j->v[m + 1].next) {
            u64 p;
            bool found;
            rec.n = 0;
            json_text(j, m, &rec);
            e = sd_find(&d, rec.p, rec.n, &p, &found);
            b.n = 0;
            if (e) buf_f(&b, "\"%s\"", err_name(e)); else if (found) buf_f(&b, "%" PRIu64, p); else buf_s(&b, "null");
            snprintf(what, sizeof what, "find %.*s", (int)(rec.n < 100 ? rec.n : 100), rec.p ? (char *)rec.p : "");
            expect(&r, what, j, m + 1, &b);
        }
        if ((k = json_get(j, v, "samples"))) for (u32 m = k + 1; m < j->v[k].next; m = j->v[m + 1].next) {
            char *t = text_of(j, m);
            u64 p = strtoull(t, NULL, 10);
            b.n = 0;
            e = sd_read(&d, p, &rec);
            if (!e) e = decode(&d, p, &rec, &b);
            if (e) { b.n = 0; buf_f(&b, "\"%s\"", err_name(e)); }
            snprintf(what, sizeof what, "sample %s", t);
            expect(&r, what, j, m + 1, &b);
            free(t);
        }
        if ((k = json_get(j, v, "ranges"))) for (u32 m = k + 1; m < j->v[k].next; m = j->v[m].next) {
            i64 x[3] = {0};
            for (u32 i = 0; i < 3; i++) json_int(j, json_at(j, m, i), &x[i]);
            e = sd_range(&d, (u64)x[0], (u64)x[1], (u64)x[2], &rec);
            answer(&b, e, &rec);
            snprintf(what, sizeof what, "range %" PRId64 " %" PRId64 " %" PRId64, x[0], x[1], x[2]);
            expect(&r, what, j, json_at(j, m, 3), &b);
        }
        if ((k = json_get(j, v, "metadata"))) { b.n = 0; json_shown(&d.j, d.metadata, &b, true); expect(&r, "metadata", j, k, &b); }
        if ((k = json_get(j, v, "metadata_bytes"))) { b.n = 0; buf_f(&b, "%" PRIu64, json_bytes(&d.j, d.metadata)); expect(&r, "metadata_bytes", j, k, &b); }
        if ((k = json_get(j, v, "fingerprint"))) { b.n = 0; buf_c(&b, '"'); sd_fingerprint(&d, &b); buf_c(&b, '"'); expect(&r, "fingerprint", j, k, &b); }
        if ((k = json_get(j, v, "sha256"))) {
            u8 h[32];
            e = sd_sha256(&d, h);
            b.n = 0;
            buf_c(&b, '"');
            if (e) buf_s(&b, err_name(e)); else buf_hex(&b, h, 32);
            buf_c(&b, '"');
            expect(&r, "sha256", j, k, &b);
        }
        if ((k = json_get(j, v, "intact"))) {
            FILE *say = tmpfile();
            u64 n = sd_verify(&d, say);
            b.n = 0;
            buf_s(&b, n ? "false" : "true");
            unsigned before = r.differ;
            expect(&r, "intact", j, k, &b);
            if (r.differ > before && n) { char t[300]; rewind(say); for (int i = 0; i < 3 && fgets(t, sizeof t, say); i++) printf("    %s", t); }
            fclose(say);
        }
    }
    sd_close(&d);
    buf_free(&b); buf_free(&rec);
    remove_all(dir);
    free(name); free(set);
    return r.differ;
}

static int conf(const char *root, int nonly, char **only)
{
    char path[4096], dir[64] = "/tmp/sdread.XXXXXX", in[96];
    buf b = {0};
    json j;
    snprintf(path, sizeof path, "%s/verdicts.json", root);
    if (!load(path, &b) || !json_parse(&j, b.p, b.n, 400) || !mkdtemp(dir)) { fprintf(stderr, "%s: cannot be read\n", path); return 2; }
    snprintf(in, sizeof in, "%s/d", dir);
    unsigned agreed = 0, differ = 0;
    for (u32 c = 1; c < j.v[0].next; c = j.v[c].next) {
        bool want = !nonly;
        for (int i = 0; i < nonly; i++) want |= json_is(&j, json_get(&j, c, "name"), only[i]);
        if (!want) continue;
        struct timespec t0, t1;
        clock_gettime(CLOCK_MONOTONIC, &t0);
        if (one_case(&j, c, in, root)) differ++; else agreed++;
        clock_gettime(CLOCK_MONOTONIC, &t1);
        double s = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) * 1e-9;
        if (s > 2) { char *n = text_of(&j, json_get(&j, c, "name")); printf("  %s: %.1f s\n", n, s); free(n); }
        fflush(stdout);
    }
    rmdir(dir);
    json_free(&j);
    buf_free(&b);
    printf("agreed %u, differing %u, of %u\n", agreed, differ, agreed + differ);
    return differ != 0;
}

static int cat(const char *path)
{
    ds d;
    buf rec = {0}, key = {0}, out = {0};
    int e = sd_open(&d, path);
    if (e) { fprintf(stderr, "%s: %s\n", path, err_name(e)); sd_close(&d); return 1; }
    int bad = 0;
    for (u64 p = 0; p < d.records; p++) {
        bool has = false;
        out.n = 0;
        buf_f(&out, "%" PRIu64, p);
        if (!(e = sd_key(&d, p, &key, &has))) { if (has) { buf_c(&out, ' '); put_text(&out, key.p, key.n); } }
        else if (e != DELETED) buf_f(&out, " key: %s", err_name(e));
        buf_s(&out, "  ");
        e = sd_read(&d, p, &rec);
        if (!e && d.has_codec && !strcmp(d.codec, "sample")) e = decode(&d, p, &rec, &out);
        else if (!e) {
            size_t n = rec.n < 64 ? rec.n : 64;
            buf_f(&out, "%zu bytes, %016" PRIx64 " ", rec.n, hash64(rec.p, rec.n));
            if (n == rec.n && utf8_valid(rec.p, n, UTF8_STRICT)) put_text(&out, rec.p, n);
            else { buf_hex(&out, rec.p, n); if (n < rec.n) buf_s(&out, "..."); }
        }
        if (e) { buf_s(&out, err_name(e)); if (e != DELETED) bad = 1; }
        buf_c(&out, '\n');
        fwrite(out.p, 1, out.n, stdout);
        if (e == NO_POSITION) break;
    }
    buf_free(&rec); buf_free(&key); buf_free(&out);
    sd_close(&d);
    return bad;
}

static int verify(const char *path)
{
    ds d;
    int e = sd_open(&d, path);
    if (e) { printf("%s: %s\n", path, err_name(e)); sd_close(&d); return 1; }
    u64 n = sd_verify(&d, stdout);
    buf b = {0};
    sd_fingerprint(&d, &b);
    u8 h[32];
    printf("%.*s: %" PRIu64 " records, %u segments, %" PRIu64 " findings\n", (int)b.n, b.p, d.records, d.nsegs, n);
    if (!n && !sd_sha256(&d, h)) { b.n = 0; buf_hex(&b, h, 32); printf("sha256 %.*s\n", (int)b.n, b.p); }
    buf_free(&b);
    sd_close(&d);
    return n != 0;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && !strcmp(argv[1], "conf")) return conf(argv[2], argc - 3, argv + 3);
    if (argc == 3 && !strcmp(argv[1], "cat")) return cat(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "verify")) return verify(argv[2]);
    fprintf(stderr, "usage: sdread conf FOLDER [CASE ...] | cat DATASET | verify DATASET\n");
    return 2;
}
