//! FORMAT.md section 16. Findings, and names of segments or files of unknown features ("named").
use crate::hash::*;
use crate::json::{self, V};
use crate::reader::*;
use std::collections::HashSet;

pub fn verify(d: &mut Dataset) -> Vec<String> {
    let mut out = vec![];
    for si in 0..d.segs.len() {
        let mut f = vec![];
        segment(d, si, &mut f);
        let id = d.segs[si].id.clone();
        out.extend(f.into_iter().map(|x| format!("{:.6}: {}", id, x)));
    }
    out
}
fn zeros(fh: &Fh, a: u64, b: u64) -> bool {
    if b <= a { return true; }
    match fh.read(a, b - a) { Ok(v) => v.iter().all(|x| *x == 0), Err(_) => false }
}
fn segment(d: &mut Dataset, si: usize, out: &mut Vec<String>) {
    macro_rules! find { ($($a:tt)*) => { out.push(format!($($a)*)) } }
    macro_rules! want { ($c:expr, $($a:tt)*) => { if !$c { out.push(format!($($a)*)) } } }
    if let Some(f) = d.segs[si].unknown() { find!("NAMED: unknown feature {}", f); return; }
    let (records, bins, group, sealed, idb) = (d.segs[si].records, d.segs[si].bins, d.segs[si].group, d.segs[si].sealed, d.segs[si].idb);
    let (frames, stride) = (d.segs[si].frames(), d.segs[si].stride());
    let dir = match d.path(si) { Ok(p) => p, Err(e) => { find!("{:?}", e); return } };
    // 11 deleted
    let mut del: Option<std::rc::Rc<Vec<u32>>> = None;
    match d.deleted(si) {
        Err(e) => find!("deleted: {:?}", e),
        Ok(v) => {
            if let Some((n, hash)) = d.segs[si].deleted {
                let l = 64 + 4 * n;
                if let Ok(Some(fh)) = open_regular(&dir.join(format!("deleted.{:016x}", hash))) {
                    want!(fh.size == 2 * l, "length of the list of deleted records");
                    for h in 0..2 { want!(fh.read(h * l, l).map_or(false, |b| xxh(&b) == hash), "half {} of the list of deleted records", h); }
                }
                want!(v.iter().all(|x| (*x as u64) < records), "deleted record behind the last one");
            }
            del = Some(v);
        }
    }
    let is_del = |s: u64| del.as_ref().map_or(false, |v| v.binary_search(&(s as u32)).is_ok());
    // 2 index header
    let ix = match d.index(si) { Ok(x) => x, Err(e) => { find!("index: {:?}", e); return } };
    let s = &d.segs[si];
    let mut ix_al = None;
    match &ix.h {
        None => find!("index header is not intact"),
        Some(h) => {
            ix_al = Some(1u64 << h[60]);
            want!(u32a(h, 56) == bins, "index: bins");
            want!((u32a(h, 32) & 1 == 1) == (group > 0) && (group == 0 || 1u64 << h[101] == group), "index: group");
            want!(u64a(h, 48) == s.first, "index: first position");
            let n = u64a(h, 40);
            if sealed || n <= records {
                want!(n == records, "index: records");
                want!(u64a(h, 64) == s.digest && u64a(h, 72) == s.stored_bytes && u64a(h, 80) == s.raw_bytes, "index: digest or sums");
            }
            want!(!sealed || h[61] == 1, "index: sealed");
        }
    }
    // 3 tables
    let mut bin_table: Option<Vec<u8>> = None;
    let mut ix_dict: Option<Option<Vec<u8>>> = None;
    if sealed {
        let dn = ix.h.as_ref().map(|h| u32a(h, 96));
        // without an intact header the length of the dictionary follows from the end of the file
        let (a, b, c, _) = d.tables(si, 0);
        let dl = match dn { Some(n) => Some((n + 7) / 8 * 8), None => ix.fh.size.checked_sub(c + 24) };
        match dl {
            Some(dl) if c + dl + 24 == ix.fh.size => {
                let foot = ix.fh.read(c + dl, 24).unwrap();
                let (sums, table, dict) = (ix.fh.read(a, b - a).unwrap(), ix.fh.read(b, c - b).unwrap(), ix.fh.read(c, dl).unwrap());
                want!(xxh(&sums) == u64a(&foot, 0), "footer: block sums");
                want!(xxh(&table) == u64a(&foot, 8), "footer: bin table");
                want!(xxh(&dict) == u64a(&foot, 16), "footer: dictionary");
                let e = (65536 / stride).max(1);
                for i in 0..frames.div_ceil(e) {
                    let n = e.min(frames - i * e);
                    want!(ix.fh.read(128 + stride * e * i, stride * n).map_or(false, |x| xxh(&x) == u64a(&sums, 8 * i as usize)), "block sum {}", i);
                }
                for b in 0..bins { if b >= frames { want!(u64a(&table, 8 * b as usize) == 0, "bin table: bin {} without frames", b); } }
                if let Some(n) = dn { want!(dict[n as usize..].iter().all(|x| *x == 0), "zeros behind the dictionary"); ix_dict = Some(if n > 0 { Some(dict[..n as usize].to_vec()) } else { None }); }
                bin_table = Some(table);
            }
            _ => find!("index does not end with its footer"),
        }
    }
    // frames
    let have = if ix.fh.size >= 128 { ((ix.fh.size - 128) / stride).min(frames) } else { 0 };
    if have < frames { find!("index has {} of {} entries", have, frames); }
    let mut hashes: Vec<Option<u64>> = vec![]; // of each record below `have` frames
    let mut pairs: HashSet<(u64, u32)> = HashSet::new();
    let mut lost: HashSet<u64> = HashSet::new(); // records whose key or bytes are not known
    let mut erased = false;
    let nrec = if group > 0 { (have * group).min(records) } else { have };
    hashes.resize(nrec as usize, None);
    let mut nkeys = 0u64;
    for b in 0..bins.min(have) {
        let bin = match d.bin(si, b) { Ok(x) => x, Err(e) => { find!("bin {}: {:?}", b, e); let mut f = b; while f < have { for s in rec(group, f, nrec) { lost.insert(s); } f += bins; if d.segs[si].bins > 1000 && f > b + 100 * bins { break; } } continue } };
        let mut al = ix_al;
        match &bin.h {
            None => find!("header of bin {} is not intact", b),
            Some(h) => {
                want!(u32a(h, 36) == bins, "bin {}: number of bins", b);
                want!((u32a(h, 40) & 1 == 1) == (group > 0) && (group == 0 || 1u64 << h[50] == group), "bin {}: group", b);
                if let Some(a) = ix_al { want!(a == 1 << h[48], "bin {}: alignment", b); } else { al = Some(1 << h[48]); }
            }
        }
        let al = match al { Some(a) => a, None => { find!("bin {}: no alignment is known", b); 8 } };
        let salt = salt(&idb, b);
        let mut e = Some(64u64); // where the part before ends, if known
        // 5 control frames
        if b == 0 {
            let mut bin_dict: Option<Vec<u8>> = None;
            let mut last = 0;
            loop {
                let at = next(e.unwrap(), 32, al);
                match Dataset::control(&bin, at) {
                    Ok(Some((bad, kind, p, fr))) if (kind == 1 || kind == 2) && kind > last => {
                        last = kind;
                        want!(bad == 0 && fr.check_ok(salt), "control frame of kind {}", kind);
                        want!(zeros(&bin.fh, e.unwrap(), at), "bytes before a control frame");
                        if bad != 0 && fr.off + 32 + fr.stored > bin.fh.size { break; }
                        e = Some(at + 32 + fr.stored);
                        if bad == 0 && kind == 1 { bin_dict = Some(p); }
                        else if bad == 0 {
                            want!(json::parse(&p).map_or(false, |v| matches!(v, V::Obj(_)) && v.depth() <= 100 && v.size() <= 1048576), "copy of the metadata");
                        }
                    }
                    Ok(Some(_)) => { find!("odd control frame"); break }
                    _ => break,
                }
            }
            if let Some(x) = &ix_dict { want!(*x == bin_dict, "dictionaries of index and bin 0 differ"); }
        }
        // 6 walk
        let mut f = b;
        while f < have {
            let entry = d.entry(si, f).unwrap();
            if u64a(&entry, 0) == u64::MAX {
                if group == 0 && is_del(f) { erased = true; } else { find!("frame {} is lost", f); }
                for s in rec(group, f, nrec) { lost.insert(s); }
                f += bins; continue;
            }
            match d.frame(si, f) {
                Err(x) => { find!("frame {}: {:?}", f, x); for s in rec(group, f, nrec) { lost.insert(s); } e = None; }
                Ok((_, fr)) => {
                    want!(fr.check_ok(salt), "frame {}: sync or check", f);
                    want!(fr.kind != 3 || fr.keylen == 0, "frame {}: key length of a group", f);
                    if let Some(e) = e {
                        let at = next(e, fr.hl, al);
                        want!(at == fr.off, "frame {} begins at {} and not at {}", f, fr.off, at);
                        if at == fr.off { want!(zeros(&bin.fh, e, at), "bytes before frame {}", f); }
                    }
                    let mut end = fr.proof_end().unwrap();
                    if fr.kind == 4 { want!(zeros(&bin.fh, fr.off + 64 + fr.stored, fr.hashes_at().unwrap()), "bytes within frame {}", f); }
                    if group == 0 && fr.keylen > 0 { end += fr.keylen + 8; }
                    e = Some(end);
                    frame_payload(d, si, f, nrec, out, &mut hashes, &mut pairs, &mut lost, &mut erased, &mut nkeys, &is_del);
                }
            }
            f += bins;
        }
        if sealed {
            if let Some(e) = e {
                let end = next(e, 32, al);
                want!(end == bin.fh.size, "bin {} has {} bytes and not {}", b, bin.fh.size, end);
                if end == bin.fh.size { want!(zeros(&bin.fh, e, end), "bytes at the end of bin {}", b); }
            }
            if let Some(t) = &bin_table { want!(u64a(t, 8 * b as usize) == bin.fh.size, "bin table: bin {}", b); }
        }
    }
    // 8 number of keys
    if lost.is_empty() && !erased && have == frames {
        let k = d.segs[si].keys.map_or(0, |k| k.0);
        want!(nkeys == k, "{} records have keys, {} in the manifest", nkeys, k);
        // 10 digest
        let dg = hashes.iter().fold(0, |a, h| dig_add(a, h.unwrap()));
        want!(dg == d.segs[si].digest, "digest {:016x}", dg);
    }
    // 9 file of keys
    if d.segs[si].keys.is_some() { keys(d, si, out, &pairs, &lost, nrec); }
    // 12 samples
    crate::sample::verify(d, si, out);
}
fn rec(group: u64, f: u64, nrec: u64) -> std::ops::Range<u64> { if group == 0 { f..f + 1 } else { f * group..((f + 1) * group).min(nrec) } }
#[allow(clippy::too_many_arguments)]
fn frame_payload(d: &mut Dataset, si: usize, f: u64, nrec: u64, out: &mut Vec<String>, hashes: &mut [Option<u64>], pairs: &mut HashSet<(u64, u32)>,
    lost: &mut HashSet<u64>, erased: &mut bool, nkeys: &mut u64, is_del: &dyn Fn(u64) -> bool) {
    macro_rules! want { ($c:expr, $($a:tt)*) => { if !$c { out.push(format!($($a)*)) } } }
    let group = d.segs[si].group;
    let raw = match d.raw(si, f) {
        Ok(r) => r,
        Err(x) => { out.push(format!("frame {}: {:?}", f, x)); for s in rec(group, f, nrec) { lost.insert(s); } return }
    };
    if group == 0 {
        hashes[f as usize] = Some(xxh(&raw));
        match d.key_of(si, f, f) {
            Ok(None) => {}
            Ok(Some(k)) => { *nkeys += 1; pairs.insert((xxh(&k), f as u32)); }
            Err(x) => { out.push(format!("key of {}: {:?}", f, x)); lost.insert(f); }
        }
        return;
    }
    let ix = d.index(si).unwrap();
    let entry = ix.fh.read(128 + d.segs[si].stride() * f, d.segs[si].stride()).unwrap();
    let g = match d.group(si, f, &raw) { Ok(g) => g, Err(x) => { out.push(format!("group {}: {:?}", f, x)); for s in rec(group, f, nrec) { lost.insert(s); } return } };
    want!(g.count == g.c, "group {}: count", f);
    let mut e = g.tables;
    for i in 0..g.count {
        let len = u32a(&entry, 16 + 4 * i as usize);
        let s = f * group + i;
        match g.item(i) {
            Ok((a, b)) => {
                want!(raw[e as usize..a].iter().all(|x| *x == 0), "group {}: zeros before item {}", f, i);
                want!(len == (b - a) as u64, "group {}: length of item {} in the index", f, i);
                e = b as u64;
                if s < nrec { hashes[s as usize] = Some(xxh(&raw[a..b])); }
                if s < nrec && is_del(s) && a == b && matches!(g.key(i), Ok(None)) { *erased = true; }
            }
            Err(x) => { out.push(format!("group {} item {}: {:?}", f, i, x)); if s < nrec { lost.insert(s); } return }
        }
    }
    want!(entry[16 + 4 * g.count as usize..].iter().all(|x| *x == 0), "group {}: zeros in the index", f);
    if g.keys {
        for i in 0..g.count {
            match g.key(i) {
                Ok(k) => {
                    e = g.key_end(i);
                    let s = f * group + i;
                    if let Some((a, b)) = k { if s < nrec { *nkeys += 1; pairs.insert((xxh(&raw[a..b]), s as u32)); } }
                }
                Err(x) => { out.push(format!("group {} key {}: {:?}", f, i, x)); lost.insert(f * group + i); return }
            }
        }
    }
    want!(e == raw.len() as u64, "group {}: payload ends behind its last item or key", f);
}
fn keys(d: &mut Dataset, si: usize, out: &mut Vec<String>, pairs: &HashSet<(u64, u32)>, lost: &HashSet<u64>, nrec: u64) {
    macro_rules! want { ($c:expr, $($a:tt)*) => { if !$c { out.push(format!($($a)*)) } } }
    let (fh, begin, runs, end, name) = match d.keys_file(si) { Ok(x) => x, Err(x) => { out.push(format!("keys: {:?}", x)); return } };
    let (sealed, kb) = (d.segs[si].sealed, d.segs[si].keys.unwrap().1);
    let h = fh.read(0, 64.min(fh.size)).unwrap();
    want!(matches!(check_header(&h, b'K', 64, 32), Ok(true)), "{}: header is not intact", name);
    want!(end == kb || !sealed, "{}: directory is not at keys_bytes", name);
    if sealed {
        want!(fh.size == kb, "{}: does not end at keys_bytes", name);
        want!(runs.len() == 1, "{}: {} runs", name, runs.len());
        if let Some((o, k, _)) = runs.first() { want!(o + run_fences(*k) + 16 * k.div_ceil(1024) == begin, "{}: directory is not behind the run", name); }
    }
    let mut got: HashSet<(u64, u32)> = HashSet::new();
    for (o, k, fhash) in runs {
        let nb = k.div_ceil(1024);
        let fences = match fh.read(o + run_fences(k), 16 * nb) { Ok(f) => f, Err(_) => { out.push("fences".into()); continue } };
        want!(xxh(&fences) == fhash, "{}: fences", name);
        let mut last = 0;
        for i in 0..nb {
            let m = 1024.min(k - i * 1024) as usize;
            let b = fh.read(o + 12288 * i, align(12 * m as u64, 8)).unwrap();
            want!(xxh(&b) == u64a(&fences, 16 * i as usize + 8), "{}: block {}", name, i);
            want!(u64a(&b, 0) == u64a(&fences, 16 * i as usize), "{}: fence {}", name, i);
            want!(b[12 * m..].iter().all(|x| *x == 0), "{}: zeros of block {}", name, i);
            for j in 0..m {
                let (h, s) = (u64a(&b, 8 * j), u32a(&b, 8 * m + 4 * j));
                want!(h >= last, "{}: hashes do not ascend", name);
                last = h;
                if !sealed && s >= nrec { continue; } // of records that a later commit added
                if !got.insert((h, s as u32)) { out.push(format!("{}: pair twice", name)); }
                if !pairs.contains(&(h, s as u32)) && !lost.contains(&s) { out.push(format!("{}: pair of no frame", name)); }
            }
        }
    }
    for p in pairs { if !got.contains(p) { out.push(format!("{}: key of record {} is missing", name, p.1)); break; } }
}
/// not part of section 16: what the sums of the manifest are of
pub fn sums(d: &mut Dataset) {
    for si in 0..d.segs.len() {
        let (mut raw, mut stored, mut keys, mut n) = (0, 0, 0, 0);
        for f in 0..d.segs[si].frames() {
            if let Ok((_, fr)) = d.frame(si, f) { raw += fr.raw; stored += fr.stored; n += 1; }
        }
        for s in 0..d.segs[si].records { let g = d.segs[si].group; if let Ok(Some(_)) = d.key_of(si, s, if g > 0 { s / g } else { s }) { keys += 1; } }
        let s = &d.segs[si];
        println!("{:.6}: frames {}/{} raw {}/{} stored {}/{} keys {}/{:?} group {}", s.id, n, s.frames(), raw, s.raw_bytes, stored, s.stored_bytes, keys, s.keys, s.group);
    }
}
