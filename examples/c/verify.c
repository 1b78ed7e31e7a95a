#include "sd.h"
#include <stdarg.h>
#include <sys/mman.h>

/* docs/format/verifying.md */
#define MOST 200 /* findings of one segment: then it is given up, so that a hole costs no endless work */

typedef struct { u64 hash; u32 seq; } pair;
typedef struct {
    ds *d; seg *s; FILE *say; u64 found, here;
    u64 frames, have, stride, per;
    file index;
    u8 *state;               /* of each frame that the index has: 0 not looked at, 1 proven, 2 erased, 3 lost or damaged */
    bool lost, erased;
    pair *pairs; u64 npairs, cap; /* of the frames */
    u64 keys;
    bool key_unknown;
    u64 *hashes; u64 nhashes;
    u8 align;
} ver;

static void finding(ver *v, const char *f, ...) __attribute__((format(printf, 2, 3)));
static void finding(ver *v, const char *f, ...)
{
    v->found++;
    v->here++;
    if (!v->say || v->here > MOST) return;
    fprintf(v->say, "%s: ", v->s ? v->s->id : "dataset");
    va_list a;
    va_start(a, f);
    vfprintf(v->say, f, a);
    va_end(a);
    fputc('\n', v->say);
}
static bool enough(const ver *v) { return v->here > MOST; }

static void *lazy(u64 n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}
static bool zeros(const file *f, u64 from, u64 to)
{
    u8 t[4096];
    while (from < to) {
        u64 n = to - from < sizeof t ? to - from : sizeof t;
        if (!read_at(f, from, t, n) || !all_zero(t, n)) return false;
        from += n;
    }
    return true;
}
static bool hash_range(const file *f, u64 at, u64 n, u64 want)
{
    u8 t[65536];
    XXH3_state_t *x = XXH3_createState();
    XXH3_64bits_reset(x);
    bool ok = at <= f->size && n <= f->size - at;
    while (ok && n) {
        u64 m = n < sizeof t ? n : sizeof t;
        ok = read_at(f, at, t, m);
        XXH3_64bits_update(x, t, m);
        at += m; n -= m;
    }
    ok = ok && XXH3_64bits_digest(x) == want;
    XXH3_freeState(x);
    return ok;
}

static bool check_index(ver *v) /* checks 2 and 3; false: there is none to go on with */
{
    seg *s = v->s;
    cfile *c;
    int e = get_file(v->d, s, F_INDEX, &c);
    if (e) { finding(v, "index: %s", e == ABSENT ? "is not there" : err_name(e)); return false; }
    v->index = c->f;
    const u8 *h = c->hdr;
    v->align = 0;
    if (!c->intact) finding(v, "index: its header is not intact");
    else {
        v->align = h[60];
        u64 n = le64(h + 40);
        if (le32(h + 56) != s->bins) finding(v, "index header: number of bins");
        if (le32(h + 32) != (s->group ? 1u : 0u)) finding(v, "index header: features");
        if (s->group ? (1u << h[101]) != s->group : h[101] != 0) finding(v, "index header: group");
        if (le64(h + 48) != s->first) finding(v, "index header: first position");
        if (h[100]) finding(v, "index header: kind of hash");
        if (!all_zero(h + 104, 16)) finding(v, "index header: key id");
        if (s->sealed ? n != s->records : n < s->records) finding(v, "index header: records");
        else if (n == s->records && (le64(h + 64) != s->digest || le64(h + 72) != s->stored_bytes || le64(h + 80) != s->raw_bytes)) finding(v, "index header: digest or sums");
        if (h[61] > 1 || (s->sealed && h[61] != 1)) finding(v, "index header: sealed");
        if (!s->sealed && n > s->records && le64(h + 64) >= DIGEST_P) finding(v, "index header: digest");
    }
    v->frames = frames_of(s);
    v->stride = stride_of(s);
    v->per = SUM_BYTES / v->stride ? SUM_BYTES / v->stride : 1;
    v->have = c->f.size < 128 ? 0 : (c->f.size - 128) / v->stride;
    if (v->have > v->frames) v->have = v->frames;
    if (v->have < v->frames) finding(v, "index: has %" PRIu64 " of %" PRIu64 " entries", v->have, v->frames);
    if (!s->sealed || v->have < v->frames) return true;
    u64 sums = (v->frames + v->per - 1) / v->per, at = 128 + v->stride * v->frames;
    u64 dict = c->intact ? le32(h + 96) : 0;
    u64 bins_at = at + 8 * sums, dict_at = bins_at + 8ull * s->bins, end = dict_at + align_up(dict, 8) + 24;
    u8 foot[24];
    if (!c->intact && c->f.size >= dict_at + 24) { end = c->f.size; dict = end - 24 - dict_at; }
    if (dict > MAX_DICTIONARY_BYTES) finding(v, "index: length of the dictionary");
    if (end != c->f.size || !read_at(&v->index, end - 24, foot, 24)) { finding(v, "index: does not end with its footer"); return true; }
    if (!hash_range(&v->index, at, 8 * sums, le64(foot))) finding(v, "index: hash of block sums");
    if (!hash_range(&v->index, bins_at, 8ull * s->bins, le64(foot + 8))) finding(v, "index: hash of bin table");
    if (!hash_range(&v->index, dict_at, align_up(dict, 8), le64(foot + 16))) finding(v, "index: hash of dictionary");
    if (!zeros(&v->index, dict_at + dict, end - 24)) finding(v, "index: zeros behind the dictionary");
    for (u64 i = 0; i < sums && !enough(v); i++) {
        u8 t[8];
        u64 from = 128 + v->stride * v->per * i, n = v->stride * (v->frames - v->per * i < v->per ? v->frames - v->per * i : v->per);
        if (!read_at(&v->index, at + 8 * i, t, 8) || !hash_range(&v->index, from, n, le64(t))) finding(v, "index: block sum %" PRIu64, i);
    }
    return true;
}

static void add_pair(ver *v, u64 hash, u64 seq)
{
    if (v->npairs == v->cap) { v->cap = v->cap ? v->cap * 2 : 64; v->pairs = xrealloc(v->pairs, v->cap * sizeof *v->pairs); }
    v->pairs[v->npairs++] = (pair){hash, (u32)seq};
}

static void one_sample(ver *v, u64 seq, const u8 *p, size_t n)
{
    buf b = {0};
    if (!v->d->has_codec || strcmp(v->d->codec, "sample") || n >= LARGE_RECORD_BYTES) return;
    int e = sample_json(v->d, v->s, p, n, &b);
    if (e) finding(v, "record %" PRIu64 ": is no sample of its segment: %s", seq, err_name(e));
    buf_free(&b);
}

static void one_group(ver *v, u64 f, const buf *raw)
{
    seg *s = v->s;
    group_head g;
    if (group_check(s, f, raw, &g)) { finding(v, "group %" PRIu64 ": its tables", f); v->lost = true; v->state[f] = 3; return; }
    u8 t[4];
    u64 last = 0, from, to, e = g.tables, c = s->records - f * s->group < s->group ? s->records - f * s->group : s->group;
    bool bad = false;
    for (u32 i = 0; i < g.count; i++) {
        if (group_item(raw, &g, i, &from, &to)) { finding(v, "group %" PRIu64 ": item %u", f, i); bad = true; if (i < c) v->lost = true; break; }
        if (!all_zero(raw->p + e, from - e)) finding(v, "group %" PRIu64 ": zeros before item %u", f, i);
        e = to;
        u64 seq = f * s->group + i;
        if (!read_at(&v->index, 128 + v->stride * f + 16 + 4 * i, t, 4) || le32(t) != to - from) finding(v, "group %" PRIu64 ": length of item %u in the index", f, i);
        if (i >= c) continue;
        bool gone = s->has_deleted && !s->del_err && is_deleted(s, seq) && to == from;
        if (gone) v->erased = true; /* or it was so before: nobody can tell */
        v->hashes[seq] = hash64(raw->p + from, to - from);
        if (!gone) one_sample(v, seq, raw->p + from, to - from);
    }
    for (u32 i = g.count; i < s->group; i++)
        if (!read_at(&v->index, 128 + v->stride * f + 16 + 4 * i, t, 4) || le32(t)) { finding(v, "group %" PRIu64 ": zeros behind the lengths", f); break; }
    last = e;
    if (!bad && g.keys) for (u32 i = 0; i < g.count; i++) {
        if (group_key(raw, &g, i, &from, &to)) { finding(v, "group %" PRIu64 ": key %u", f, i); v->key_unknown = true; bad = true; break; }
        last = to;
        if (from < to && i < c) { v->keys++; add_pair(v, hash64(raw->p + from, to - from), f * s->group + i); }
    }
    if (!bad && last != raw->n) finding(v, "group %" PRIu64 ": bytes behind the last item or key", f);
}

static void one_frame(ver *v, frame *fr, u64 f)
{
    seg *s = v->s;
    buf b = {0}, key = {0};
    bool has;
    int e;
    if (s->group) {
        e = raw_payload(v->d, fr, &b);
        if (e) { finding(v, "group %" PRIu64 ": %s", f, err_name(e)); v->lost = v->key_unknown = true; v->state[f] = 3; }
        else { v->state[f] = 1; one_group(v, f, &b); }
        if (fr->key_length) finding(v, "group %" PRIu64 ": its frame has a key", f);
    } else {
        u64 h = 0;
        if (fr->codec == 0 && fr->kind == 4) e = stored_payload(fr, &b, &h);
        else if (!(e = raw_payload(v->d, fr, &b))) h = hash64(b.p, b.n);
        if (e) { finding(v, "record %" PRIu64 ": %s", f, err_name(e)); v->lost = true; v->state[f] = 3; }
        else {
            v->state[f] = 1;
            v->hashes[f] = h;
            if (fr->kind != 4) one_sample(v, f, b.p, b.n);
        }
        u64 salt = bin_salt(s, fr->bin);
        bool header = le32(fr->h) == ((u32)salt | 1) && le32(fr->h + 4) == header_check(salt, fr->off, fr->h, fr->hdr_bytes / 8);
        if (header) { /* else it is found in the walk */
            e = frame_key(v->d, fr, &key, &has);
            if (e) { finding(v, "record %" PRIu64 ": its key: %s", f, err_name(e)); v->key_unknown = true; }
            else if (has) { v->keys++; add_pair(v, hash64(key.p, key.n), f); }
        } else v->key_unknown = true;
    }
    buf_free(&b); buf_free(&key);
}

static void metadata_copy(ver *v, const file *f, u64 at, u32 n)
{
    json j = {0};
    u8 *t;
    if (n > 64 * MAX_METADATA_BYTES || at > f->size || n > f->size - at) { finding(v, "copy of the metadata: too long"); return; }
    t = xrealloc(NULL, n);
    if (!read_at(f, at, t, n) || !json_parse(&j, t, n, 200) || j.v[0].type != J_OBJECT || json_depth(&j, 0) > MAX_METADATA_DEPTH || json_bytes(&j, 0) > MAX_METADATA_BYTES)
        finding(v, "copy of the metadata: not JSON within the limits");
    json_free(&j);
    free(t);
}

static void one_bin(ver *v, u32 bin) /* checks 4 to 7 */
{
    seg *s = v->s;
    cfile *c;
    int e = get_file(v->d, s, bin, &c);
    if (e) {
        finding(v, "bin %u: %s", bin, e == ABSENT ? "is not there" : err_name(e));
        v->lost = v->key_unknown = true;
        return;
    }
    file f = c->f;
    const u8 *h = c->hdr;
    u8 al = v->align;
    if (!c->intact) finding(v, "bin %u: its header is not intact", bin);
    else {
        if (!al) al = h[48];
        if (al != h[48]) finding(v, "bin %u: alignment", bin);
        if (le32(h + 36) != s->bins) finding(v, "bin %u: number of bins", bin);
        if (le32(h + 40) != (s->group ? 1u : 0u)) finding(v, "bin %u: features", bin);
        if (s->group ? (1u << h[50]) != s->group : h[50] != 0) finding(v, "bin %u: group", bin);
        if (h[49]) finding(v, "bin %u: kind of hash", bin);
    }
    u64 a = al ? 1ull << al : 0, pos = 64, salt = bin_salt(s, bin);
    bool known = a != 0;
    int last_kind = 0;
    bool dict_seen = false;
    if (bin == 0 && known) for (;;) {
        u8 t[32];
        u64 at = next_frame(pos, 32, a);
        if (!read_at(&f, at, t, 32) || le32(t + 16) != CONTROL_SEQUENCE) break;
        u32 n = le32(t + 24);
        bool valid = control_valid(t) && t[20] > last_kind && n && n <= (t[20] == 1 ? MAX_DICTIONARY_BYTES : UINT32_MAX - 1);
        if (!valid) { finding(v, "control frame at %" PRIu64 ": its header", at); known = false; break; }
        if (le32(t) != ((u32)salt | 1) || le32(t + 4) != header_check(salt, at, t, 4)) finding(v, "control frame at %" PRIu64 ": header check", at);
        if (!zeros(&f, pos, at)) finding(v, "bytes before the control frame at %" PRIu64, at);
        if (!hash_range(&f, at + 32, n, le64(t + 8))) { finding(v, "control frame at %" PRIu64 ": its payload", at); if (t[20] == 1) dict_seen = true; }
        else if (t[20] == 2) metadata_copy(v, &f, at + 32, n);
        else {
            dict_seen = true;
            cfile *x;
            if (s->sealed && !get_file(v->d, s, F_INDEX, &x) && x->intact) {
                u32 m = le32(x->hdr + 96);
                u64 q = 128 + v->stride * v->frames + 8 * ((v->frames + v->per - 1) / v->per) + 8ull * s->bins;
                bool same = m == n;
                u8 p1[4096], p2[4096];
                for (u64 i = 0; same && i < n; i += sizeof p1) {
                    u64 k = n - i < sizeof p1 ? n - i : sizeof p1;
                    same = read_at(&f, at + 32 + i, p1, k) && read_at(&x->f, q + i, p2, k) && !memcmp(p1, p2, k);
                }
                if (!same) finding(v, "dictionary: bin 0 and index differ");
            }
        }
        last_kind = t[20];
        pos = at + 32 + n;
    }
    if (bin == 0 && !dict_seen && s->sealed && known) {
        cfile *x;
        if (!get_file(v->d, s, F_INDEX, &x) && x->intact && le32(x->hdr + 96)) finding(v, "dictionary: only in the index");
    }
    for (u64 fno = bin; fno < v->have && !enough(v); fno += s->bins) {
        u8 t[16];
        if (!read_at(&v->index, 128 + v->stride * fno, t, 16)) break;
        if (le64(t) == TOMBSTONE) {
            bool gone = !s->group && s->has_deleted && !s->del_err && is_deleted(s, fno);
            if (gone) { v->erased = true; v->state[fno] = 2; continue; }
            finding(v, "record %" PRIu64 ": is lost", fno);
            v->lost = v->key_unknown = true;
            v->state[fno] = 3;
            known = false;
            continue;
        }
        frame fr;
        e = locate(v->d, s, fno, &fr);
        if (e) { finding(v, "record %" PRIu64 ": %s", fno, err_name(e)); v->lost = v->key_unknown = true; v->state[fno] = 3; known = false; continue; }
        one_frame(v, &fr, fno);
        if (le32(fr.h) != ((u32)salt | 1) || le32(fr.h + 4) != header_check(salt, fr.off, fr.h, fr.hdr_bytes / 8)) finding(v, "frame %" PRIu64 ": sync word or header check", fno);
        if (known) {
            u64 want = next_frame(pos, fr.hdr_bytes, a);
            if (fr.off != want) finding(v, "frame %" PRIu64 ": begins at %" PRIu64 " and not at %" PRIu64, fno, fr.off, want);
            else if (!zeros(&f, pos, fr.off)) finding(v, "frame %" PRIu64 ": bytes before it", fno);
        } else if (a && (fr.off + fr.hdr_bytes) % a) finding(v, "frame %" PRIu64 ": is not aligned", fno);
        if (fr.kind == 4 && !zeros(&f, fr.pay + fr.stored, fr.bh)) finding(v, "frame %" PRIu64 ": bytes within it", fno);
        pos = fr.after + (fr.key_length && !s->group ? fr.key_length + 8u : 0);
        known = a && v->state[fno] == 1;
    }
    if (!s->sealed) return;
    if (known && v->have == v->frames) {
        u64 end = next_frame(pos, 32, a);
        if (f.size != end) finding(v, "bin %u: ends at %" PRIu64 " and not at %" PRIu64, bin, f.size, end);
        else if (!zeros(&f, pos, end)) finding(v, "bin %u: bytes at its end", bin);
    }
}

static void bin_table(ver *v)
{
    seg *s = v->s;
    u64 at = 128 + v->stride * v->frames + 8 * ((v->frames + v->per - 1) / v->per);
    for (u32 b = 0; b < s->bins && !enough(v); b++) {
        u8 t[8];
        file f;
        if (!read_at(&v->index, at + 8ull * b, t, 8)) return;
        if (b >= v->frames) { if (le64(t)) finding(v, "bin table: bin %u has no frame", b); continue; }
        if (open_file(v->d, s, b, &f)) { if (!le64(t)) finding(v, "bin table: bin %u", b); continue; }
        if (f.size != le64(t)) finding(v, "bin table: bin %u has %" PRIu64 " bytes", b, f.size);
        close(f.fd);
    }
}

static int by_pair(const void *x, const void *y)
{
    const pair *a = x, *b = y;
    if (a->hash != b->hash) return a->hash < b->hash ? -1 : 1;
    return (a->seq > b->seq) - (a->seq < b->seq);
}

static void check_keys(ver *v) /* checks 8 and 9 */
{
    seg *s = v->s;
    if (!s->has_keys) { if (v->npairs) finding(v, "records have keys, and the manifest says none"); return; }
    if (!v->key_unknown && !v->lost && v->keys != s->keys) finding(v, "%" PRIu64 " records have keys, and the manifest says %" PRIu64, v->keys, s->keys);
    file f;
    key_dir k;
    u8 h[64];
    bool ok = false;
    for (int which = s->sealed ? F_KEYS : F_KEYS_OPEN;; which = F_KEYS) {
        int e = open_file(v->d, s, which, &f);
        if (e && e != ABSENT) { finding(v, "keys: %s", err_name(e)); return; }
        if (!e) {
            hdr_result r = {0};
            if (read_at(&f, 0, h, 64)) r = check_header(h, 64, 'K', s, 0);
            if (r.err && r.err != FORMAT) { finding(v, "keys: %s", err_name(r.err)); close(f.fd); return; }
            ok = !r.err && key_directory(&f, s->keys_bytes, &k);
            if (!ok && !r.err && which == F_KEYS && key_directory(&f, f.size, &k)) { ok = true; if (s->sealed) finding(v, "keys: ends elsewhere than the manifest says"); }
            if (ok) { if (!r.intact) finding(v, "keys: header is not intact"); break; }
            close(f.fd);
        }
        if (which == F_KEYS) break;
    }
    if (!ok) { finding(v, "keys: no intact directory"); return; }
    if (s->sealed && (k.nruns != 1 || k.runs[0].end != k.begin || f.size != s->keys_bytes)) finding(v, "keys: more than one run, or not at the end");
    pair *all = NULL;
    u64 n = 0, cap = 0;
    u8 *blk = xrealloc(NULL, 12 * KEYS_PER_BLOCK);
    bool bad = false;
    for (u32 i = 0; i < k.nruns && !enough(v); i++) {
        key_run *r = &k.runs[i];
        if (!hash_range(&f, r->fences, 16 * r->blocks, r->fences_hash)) { finding(v, "keys: fences of run %u", i); bad = true; continue; }
        pair last = {0, 0};
        bool any = false;
        for (u64 b = 0; b < r->blocks && !enough(v); b++) {
            u64 m = r->keys - b * KEYS_PER_BLOCK < KEYS_PER_BLOCK ? r->keys - b * KEYS_PER_BLOCK : KEYS_PER_BLOCK, len = align_up(12 * m, 8);
            u8 fe[16];
            if (!read_at(&f, r->offset + 12 * KEYS_PER_BLOCK * b, blk, len) || !read_at(&f, r->fences + 16 * b, fe, 16)) { finding(v, "keys: cannot be read"); bad = true; break; }
            if (hash64(blk, len) != le64(fe + 8)) { finding(v, "keys: block %" PRIu64 " of run %u", b, i); bad = true; continue; }
            if (le64(fe) != le64(blk)) finding(v, "keys: fence %" PRIu64 " of run %u", b, i);
            if (!all_zero(blk + 12 * m, len - 12 * m)) finding(v, "keys: zeros behind block %" PRIu64, b);
            for (u64 q = 0; q < m; q++) {
                pair p = {le64(blk + 8 * q), le32(blk + 8 * m + 4 * q)};
                if (any && p.hash < last.hash) finding(v, "keys: hashes do not ascend");
                last = p; any = true;
                if (p.seq >= s->records) { if (s->sealed) finding(v, "keys: record %u is none", p.seq); continue; }
                if (n == cap) { cap = cap ? cap * 2 : 64; all = xrealloc(all, cap * sizeof *all); }
                all[n++] = p;
            }
        }
    }
    close(f.fd);
    free(k.runs);
    free(blk);
    if (!bad && !enough(v)) {
        if (n) qsort(all, n, sizeof *all, by_pair);
        if (v->npairs) qsort(v->pairs, v->npairs, sizeof *v->pairs, by_pair);
        u64 i = 0, j = 0;
        while ((i < n || j < v->npairs) && !enough(v)) {
            int c = i == n ? 1 : j == v->npairs ? -1 : by_pair(&all[i], &v->pairs[j]);
            if (!c) { i++; j++; }
            else if (c > 0) { finding(v, "keys: the key of record %u is not in the file", v->pairs[j].seq); j++; }
            else { if (!v->key_unknown) finding(v, "keys: record %u has no such key", all[i].seq); i++; }
        }
    }
    free(all);
}

static void check_deleted(ver *v) /* check 11 */
{
    seg *s = v->s;
    if (!s->has_deleted) return;
    int e = sd_deleted(v->d, s);
    if (e) { finding(v, "list of deleted records: %s", err_name(e)); return; }
    file f;
    u64 L = 64 + 4 * s->deleted;
    if (open_file(v->d, s, F_DELETED, &f)) { finding(v, "list of deleted records"); return; }
    for (int i = 0; i < 2; i++) if (!hash_range(&f, i ? L : 0, L, s->deleted_hash)) finding(v, "list of deleted records: half %d", i + 1);
    if (f.size != 2 * L) finding(v, "list of deleted records: its length");
    if (s->ndel && s->del[s->ndel - 1] >= s->records) finding(v, "list of deleted records: numbers of no records");
    close(f.fd);
}

static void check_schemas(ver *v) /* check 12 */
{
    seg *s = v->s;
    file f;
    u8 h[64];
    if (!s->nschemas) return;
    int e = open_file(v->d, s, F_SCHEMAS, &f);
    if (e) { finding(v, "schemas: %s", e == ABSENT ? "is not there" : err_name(e)); return; }
    hdr_result r = {0};
    if (read_at(&f, 0, h, 64)) r = check_header(h, 64, 'T', s, 0);
    if (!r.intact || r.err) finding(v, "schemas: header");
    else if (le32(h + 32)) finding(v, "schemas: features");
    u64 at = 64;
    for (u32 i = 0; i < s->nschemas; i++) {
        schema_bytes *b = &v->d->schemas[s->schemas[i]];
        u8 t[16], *p = xrealloc(NULL, b->n);
        bool ok = read_at(&f, at, t, 16) && le32(t) == b->n && le64(t + 8) == hash64(b->p, b->n) && read_at(&f, at + 16, p, b->n) && !memcmp(p, b->p, b->n);
        free(p);
        if (!ok) { finding(v, "schemas: schema %u", i); break; }
        if (!zeros(&f, at + 16 + b->n, at + 16 + align_up(b->n, 8))) finding(v, "schemas: zeros behind schema %u", i);
        at += 16 + align_up(b->n, 8);
    }
    close(f.fd);
}

static void one_segment(ver *v)
{
    seg *s = v->s;
    v->here = 0;
    if (s->unknown) { finding(v, "unknown feature"); return; }
    if (!s->records) return;
    check_deleted(v);
    check_schemas(v);
    v->lost = v->erased = v->key_unknown = false;
    v->npairs = v->keys = v->have = 0;
    if (!check_index(v)) return;
    u64 per = s->group ? s->group : 1, n = v->have * per;
    if (n > s->records) n = s->records;
    /* as many as the index has entries, which may be a hole: nothing is touched before a record is read */
    v->state = lazy(v->have + 1);
    v->hashes = lazy((n + 1) * 8);
    if (!v->state || !v->hashes) {
        finding(v, "too long to be verified");
        if (v->state) munmap(v->state, v->have + 1);
        return;
    }
    v->lost = v->have < v->frames;
    for (u32 b = 0; b < s->bins && b < v->frames && !enough(v); b++) one_bin(v, b);
    if (enough(v)) { if (v->say) fprintf(v->say, "%s: and more\n", s->id); }
    else {
        if (s->sealed && v->have == v->frames) bin_table(v);
        check_keys(v);
        if (!v->lost && !v->erased) {
            u64 g = 0;
            for (u64 i = 0; i < n; i++) g = digest_add(g, v->hashes[i]);
            if (g != s->digest) finding(v, "digest of its records");
        }
    }
    munmap(v->state, v->have + 1); munmap(v->hashes, (n + 1) * 8); free(v->pairs);
    v->pairs = NULL; v->cap = 0;
}

u64 sd_verify(ds *d, FILE *say)
{
    ver v = {.d = d, .say = say};
    for (u32 i = 0; i < d->nsegs; i++) { v.s = &d->segs[i]; one_segment(&v); }
    return v.found;
}
