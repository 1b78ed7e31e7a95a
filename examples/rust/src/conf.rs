//! All cases of conformance/verdicts.json.
use crate::hash::xxh;
use crate::json::{self, V};
use crate::reader::*;
use std::path::Path;

fn copy(a: &Path, b: &Path) {
    std::fs::create_dir_all(b).unwrap();
    for e in std::fs::read_dir(a).unwrap().flatten() {
        let t = b.join(e.file_name());
        if e.file_type().unwrap().is_dir() { copy(&e.path(), &t) } else { std::fs::copy(e.path(), t).unwrap(); }
    }
}
fn remove(p: &Path) {
    if let Ok(m) = std::fs::symlink_metadata(p) { if m.is_dir() { std::fs::remove_dir_all(p).unwrap() } else { std::fs::remove_file(p).unwrap() } }
}
fn edit(d: &Path, e: &V) {
    use std::os::unix::fs::FileExt;
    let p = d.join(e.get("file").unwrap().text());
    std::fs::create_dir_all(p.parent().unwrap()).unwrap();
    if e.get("remove").is_some() { remove(&p); }
    else if let Some(t) = e.get("rename") { let t = d.join(t.text()); std::fs::create_dir_all(t.parent().unwrap()).unwrap(); std::fs::rename(&p, t).unwrap(); }
    else if let Some(t) = e.get("link") { remove(&p); std::os::unix::fs::symlink(t.text(), &p).unwrap(); }
    else if e.get("folder").is_some() { remove(&p); std::fs::create_dir(&p).unwrap(); }
    else if e.get("fifo").is_some() { remove(&p); assert!(std::process::Command::new("mkfifo").arg(&p).status().unwrap().success()); }
    else if let Some(n) = e.get("size") {
        std::fs::OpenOptions::new().write(true).create(true).open(&p).unwrap().set_len(n.int().unwrap() as u64).unwrap();
    } else if let Some(h) = e.get("hex") {
        let h = h.text();
        let b: Vec<u8> = (0..h.len() / 2).map(|i| u8::from_str_radix(&h[2 * i..2 * i + 2], 16).unwrap()).collect();
        std::fs::OpenOptions::new().write(true).create(true).open(&p).unwrap().write_all_at(&b, e.get("offset").unwrap().int().unwrap() as u64).unwrap();
    } else if let Some(t) = e.get("text") {
        let mut o = vec![];
        for piece in t.arr().unwrap() {
            match piece {
                V::Str(s) => o.extend_from_slice(s),
                V::Arr(a) => for i in 0..a[1].int().unwrap() { o.extend_from_slice(a[0].text().replace("%ID%", &format!("{:032x}", i)).as_bytes()) },
                _ => panic!("piece"),
            }
        }
        std::fs::write(&p, o).unwrap();
    } else { panic!("edit {}", e.show()) }
}
fn same(a: &V, b: &V) -> bool {
    match (a, b) {
        (V::Obj(x), V::Obj(y)) => x.len() == y.len() && x.iter().all(|(k, v)| y.iter().any(|(l, w)| k == l && same(v, w))),
        (V::Arr(x), V::Arr(y)) => x.len() == y.len() && x.iter().zip(y).all(|(v, w)| same(v, w)),
        (V::Int(i, _), V::Str(s)) => i.unsigned_abs() > 1 << 53 && i.to_string().as_bytes() == &s[..],
        (V::Int(i, _), V::Int(j, _)) => i == j,
        (V::Int(i, _), V::Float(j, _)) | (V::Float(j, _), V::Int(i, _)) => *i as f64 == *j,
        (V::Float(i, _), V::Float(j, _)) => i == j,
        (V::Str(s), V::Str(t)) => s == t,
        (V::Null, V::Null) => true,
        (V::Bool(x), V::Bool(y)) => x == y,
        _ => false,
    }
}
fn ans<T>(r: R<T>, f: impl Fn(T) -> V) -> (V, String) { match r { Ok(v) => (f(v), String::new()), Err(e) => (V::Str(e.k.name().as_bytes().to_vec()), e.m) } }
fn s(t: String) -> V { V::Str(t.into_bytes()) }
fn hx(b: Vec<u8>) -> V { s(format!("{:016x}", xxh(&b))) }
fn cmp(what: String, got: (V, String), want: &V, out: &mut Vec<String>) {
    let ok = match want { V::Arr(a) => a.iter().any(|w| same(&got.0, w)), w => same(&got.0, w) };
    if !ok { out.push(format!("{}: reader says {} ({}), verdict {}", what, got.0.show(), got.1, want.show())); }
}
fn case(c: &V, base: &Path, tmp: &Path) -> Vec<String> {
    let mut out = vec![];
    remove(tmp);
    copy(&base.join("datasets").join(c.get("dataset").unwrap().text()), tmp);
    for e in c.get("edits").and_then(|e| e.arr()).unwrap_or(&[]) { edit(tmp, e); }
    let v = c.get("verdict").unwrap();
    let mut d = match Dataset::open(tmp) {
        Err(e) => { cmp("opens".into(), (s(e.k.name().into()), e.m), v.get("opens").unwrap(), &mut out); return out; }
        Ok(d) => d,
    };
    cmp("opens".into(), (V::Bool(true), String::new()), v.get("opens").unwrap(), &mut out);
    if let Some(r) = v.get("records") {
        let r = r.arr().unwrap();
        if r.len() as u64 != d.total { out.push(format!("total {} not {}", d.total, r.len())); return out; }
        for (p, w) in r.iter().enumerate() { let g = ans(d.read(p as u64), hx); cmp(format!("record {}", p), g, w, &mut out); }
    }
    if let Some(r) = v.get("keys") {
        for (p, w) in r.arr().unwrap().iter().enumerate() { let g = ans(d.key(p as u64), |k| k.map_or(V::Null, V::Str)); cmp(format!("key {}", p), g, w, &mut out); }
    }
    if let Some(V::Obj(o)) = v.get("find") {
        for (k, w) in o { let g = ans(d.find(k), |p| p.map_or(V::Null, |p| V::Int(p as i64, 0))); cmp(format!("find {:.40}", String::from_utf8_lossy(k)), g, w, &mut out); }
    }
    if let Some(r) = v.get("ranges") {
        for w in r.arr().unwrap() {
            let w = w.arr().unwrap();
            let n = |i: usize| w[i].int().unwrap() as u64;
            let g = ans(d.range(n(0), n(1), n(2)), hx); cmp(format!("range {:?}", (n(0), n(1), n(2))), g, &w[3], &mut out);
        }
    }
    if let Some(m) = v.get("metadata") { if !same(&d.metadata, m) { out.push(format!("metadata: {:.300} not {:.300}", d.metadata.show(), m.show())); } }
    if let Some(m) = v.get("metadata_bytes") { cmp("metadata_bytes".into(), (V::Int(d.metadata.size() as i64, 0), String::new()), m, &mut out); }
    if let Some(m) = v.get("fingerprint") { cmp("fingerprint".into(), (s(d.fingerprint()), String::new()), m, &mut out); }
    if let Some(m) = v.get("sha256") { let g = ans(d.sha256(), s); cmp("sha256".into(), g, m, &mut out); }
    if let Some(V::Bool(w)) = v.get("intact") {
        let f = crate::verify::verify(&mut d);
        if f.is_empty() != *w { out.push(format!("intact: reader says {} ({:?}), verdict {}", f.is_empty(), f.iter().take(5).collect::<Vec<_>>(), w)); }
    }
    out
}
pub fn run(base: &str, only: Option<&str>) {
    let base = Path::new(base);
    let v = json::parse(&std::fs::read(base.join("verdicts.json")).unwrap()).unwrap();
    let tmp = std::env::temp_dir().join(format!("stranger-case-{}", std::process::id()));
    let (mut good, mut n) = (0, 0);
    for c in v.arr().unwrap() {
        let name = c.get("name").unwrap().text();
        if only.map_or(false, |o| o != name) { continue; }
        n += 1;
        let t = std::time::Instant::now();
        let out = case(c, base, &tmp);
        if t.elapsed().as_millis() > 500 { println!("note: {} took {:?}", name, t.elapsed()); }
        if out.is_empty() { good += 1; } else {
            println!("DISAGREES {} (section {}): {}", name, c.get("section").map_or("".into(), |s| s.show()), c.get("what").unwrap().text());
            for o in out.iter().take(6) { println!("    {}", o); }
        }
    }
    remove(&tmp);
    println!("{} of {} cases agree", good, n);
}
