//! The reader: FORMAT.md sections 4 to 13.
use crate::hash::*;
use crate::json::{self, V};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum K { NotFound, Manifest, Version, Format, Truncated, MissingBin, Corrupt, TooLarge, Deleted }
impl K {
    pub fn name(self) -> &'static str {
        match self {
            K::NotFound => "DatasetNotFoundError", K::Manifest => "ManifestError", K::Version => "UnsupportedVersionError",
            K::Format => "FormatError", K::Truncated => "TruncatedFileError", K::MissingBin => "MissingBinError",
            K::Corrupt => "CorruptRecordError", K::TooLarge => "RecordTooLargeError", K::Deleted => "RecordDeletedError",
        }
    }
}
#[derive(Clone, Debug)]
pub struct E { pub k: K, pub m: String }
pub type R<T> = Result<T, E>;
pub fn err<T>(k: K, m: impl Into<String>) -> R<T> { Err(E { k, m: m.into() }) }
macro_rules! bail { ($k:expr, $($a:tt)*) => { return err($k, format!($($a)*)) } }
macro_rules! ensure { ($c:expr, $k:expr, $($a:tt)*) => { if !$c { return err($k, format!($($a)*)) } } }

pub const P61: u64 = (1 << 61) - 1;
const B61: u64 = 0x0f1e2d3c4b5a6979;
pub const LARGE: u64 = 16777216;
pub const BLOCK: u64 = 1048576;
pub const ESC: u64 = 0xffffffff;
const MAX_MANIFEST: u64 = 16777216;
const MAX_DICT: u64 = 16777216;
const MAX_COMPRESSED_RAW: u64 = 1073741824;
const MAX_WINDOW: u64 = 134217728;
pub const MAX_SCHEMA: usize = 1048576;

pub fn u16a(b: &[u8], i: usize) -> u64 { u16::from_le_bytes(b[i..i + 2].try_into().unwrap()) as u64 }
pub fn u32a(b: &[u8], i: usize) -> u64 { u32::from_le_bytes(b[i..i + 4].try_into().unwrap()) as u64 }
pub fn u64a(b: &[u8], i: usize) -> u64 { u64::from_le_bytes(b[i..i + 8].try_into().unwrap()) }
pub fn align(x: u64, a: u64) -> u64 { x.div_ceil(a) * a }
pub fn mulmod(a: u64, b: u64) -> u64 { (a as u128 * b as u128 % P61 as u128) as u64 }
pub fn dig_add(d: u64, h: u64) -> u64 { ((d as u128 * B61 as u128 + h as u128 + 1) % P61 as u128) as u64 }
pub fn dig_join(a: u64, c: u64, n: u64) -> u64 {
    let (mut r, mut b, mut e) = (1u64, B61 % P61, n);
    while e > 0 { if e & 1 == 1 { r = mulmod(r, b); } b = mulmod(b, b); e >>= 1; }
    (mulmod(a, r) + c) % P61
}

pub struct Fh { pub f: File, pub size: u64 }
impl Fh {
    pub fn read(&self, off: u64, n: u64) -> R<Vec<u8>> {
        if off.checked_add(n).map_or(true, |e| e > self.size) { return err(K::Truncated, "beyond the end of the file"); }
        let mut v = vec![0; n as usize];
        match self.f.read_exact_at(&mut v, off) { Ok(()) => Ok(v), Err(_) => err(K::Truncated, "read") }
    }
}
/// None: there is no such file. Refuses all that is no regular file (section 4.2).
pub fn open_regular(p: &Path) -> R<Option<Fh>> {
    match std::fs::symlink_metadata(p) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound) => return Ok(None),
        Err(e) => bail!(K::Format, "{:?}: {}", p, e),
        Ok(m) => ensure!(m.is_file(), K::Format, "{:?} is no regular file", p),
    }
    match std::fs::OpenOptions::new().read(true).custom_flags(0o400000 | 0o4000).open(p) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => bail!(K::Format, "{:?}: {}", p, e),
        Ok(f) => {
            let m = f.metadata().map_err(|e| E { k: K::Format, m: e.to_string() })?;
            ensure!(m.is_file(), K::Format, "{:?} is no regular file", p);
            Ok(Some(Fh { f, size: m.len() }))
        }
    }
}
pub fn real_dir(p: &Path) -> R<bool> {
    match std::fs::symlink_metadata(p) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => bail!(K::Format, "{:?}: {}", p, e),
        Ok(m) => { ensure!(m.is_dir(), K::Format, "{:?} is no directory", p); Ok(true) }
    }
}

pub struct Seg {
    pub id: String, pub idb: [u8; 16], pub records: u64, pub bins: u64, pub sealed: bool, pub digest: u64,
    pub raw_bytes: u64, pub stored_bytes: u64, pub group: u64, pub keys: Option<(u64, u64)>, pub schemas: Option<Vec<usize>>,
    pub deleted: Option<(u64, u64)>, pub features: Vec<String>, pub first: u64,
}
impl Seg {
    pub fn frames(&self) -> u64 { if self.group > 0 { self.records.div_ceil(self.group) } else { self.records } }
    pub fn stride(&self) -> u64 { if self.group > 0 { 16 + 4 * self.group } else { 16 } }
    pub fn unknown(&self) -> Option<&String> { self.features.iter().find(|f| *f != "groups" && *f != "deleted") }
}
pub struct Index { pub fh: Fh, pub h: Option<Vec<u8>> }
pub struct Bin { pub fh: Fh, pub h: Option<Vec<u8>>, pub no: u64 }
#[derive(Default)]
pub struct Cache {
    index: Option<R<Rc<Index>>>, bins: HashMap<u64, R<Rc<Bin>>>, del: Option<R<Rc<Vec<u32>>>>, dict: Option<R<Rc<DDict>>>,
    last: Option<(u64, R<Rc<Vec<u8>>>)>,
}
pub struct Dataset {
    pub dir: PathBuf, pub segs: Vec<Seg>, pub caches: Vec<Cache>, pub metadata: V, pub schemas: Vec<Vec<u8>>, pub schema: Option<usize>,
    pub total: u64, pub generation: u64,
}
#[derive(Clone, Debug)]
pub struct Frame { pub off: u64, pub hl: u64, pub stored: u64, pub raw: u64, pub hash: u64, pub seq: u64, pub kind: u8, pub codec: u8, pub keylen: u64, pub w: Vec<u64> }
impl Frame {
    pub fn parse(b: &[u8], off: u64) -> Frame {
        let w: Vec<u64> = (0..b.len() / 8).map(|i| u64a(b, i * 8)).collect();
        let kind = b[20];
        let large = kind == 4 && w.len() == 8;
        Frame { off, hl: if large { 64 } else { 32 }, stored: if large { w[4] } else { w[3] & ESC }, raw: if large { w[5] } else { w[3] >> 32 },
            hash: w[1], seq: w[2] & ESC, kind, codec: b[21], keylen: w[2] >> 48, w }
    }
    pub fn check_ok(&self, salt: u64) -> bool { self.w[0] == ((salt & ESC) | 1) | (header_check(salt, self.off, &self.w[1..]) << 32) }
    pub fn valid(&self, groups: bool) -> bool {
        let low = |x: u64| x.min(ESC);
        (if groups { self.kind == 3 } else { self.kind == 0 || self.kind == 4 })
            && (self.codec <= 1 || (self.codec == 2 && self.kind != 4))
            && (if self.codec == 0 { self.stored == self.raw } else { self.stored < self.raw })
            && ((self.raw >= LARGE) == (self.kind == 4))
            && (self.kind != 4 || (low(self.stored) == self.w[3] & ESC && low(self.raw) == self.w[3] >> 32))
            && self.seq != ESC
    }
    pub fn blocks(&self) -> u64 { self.stored.div_ceil(BLOCK) }
    /// where the block hashes begin (large), and where payload with hashes ends; None on overflow
    pub fn hashes_at(&self) -> Option<u64> {
        let r = 64u64.checked_add(self.stored)?.checked_add(7)? / 8 * 8;
        self.off.checked_add(r)
    }
    pub fn proof_end(&self) -> Option<u64> {
        if self.kind == 4 { self.hashes_at()?.checked_add(8 * self.blocks()) } else { self.off.checked_add(32 + self.stored) }
    }
}
pub fn salt(id: &[u8; 16], bin: u64) -> u64 {
    let mut b = id.to_vec();
    b.extend_from_slice(&(bin as u32).to_le_bytes());
    xxh_seed(&b, 0x5d)
}
pub fn header_check(salt: u64, off: u64, words: &[u64]) -> u64 {
    const M: [u64; 4] = [0x9e3779b97f4a7c15, 0xc90fdaa22168c235, 0xa4093822299f31d1, 0x452821e638d01377];
    let mut x = salt ^ off.wrapping_mul(M[0]);
    for (n, w) in words.iter().enumerate() { x = (x ^ (x >> 32) ^ w).wrapping_mul(M[n % 3 + 1]); }
    x >> 32
}
/// f at or behind e with (f + h) % alignment == 0
pub fn next(e: u64, h: u64, a: u64) -> u64 { align(e + h, a) - h }

/// section 7: Ok(false): not a header that counts (magic or hash wrong); Err: version, feature
pub fn check_header(b: &[u8], letter: u8, len: usize, mu_at: usize) -> R<bool> {
    if b.len() < len || b[..8] != [0x89, b'S', b'D', letter, 13, 10, 26, 10] || u64a(b, len - 8) != xxh(&b[..len - 8]) { return Ok(false); }
    ensure!(u16a(b, 8) == 1, K::Version, "version {}.{} of a file of kind {}, this reader knows 1.0", u16a(b, 8), u16a(b, 10), letter as char);
    let mu = u32a(b, mu_at);
    ensure!(mu & !1 == 0, K::Version, "feature bits {:#x}", mu);
    Ok(true)
}
pub fn index_intact(b: &[u8]) -> bool {
    let g = b[101];
    u64a(b, 40) <= 4294967294 && (1..=16777216).contains(&u32a(b, 56)) && (3..=12).contains(&b[60]) && b[61] <= 1 && b[62] <= 1
        && b[100] == 0 && (if b[32] & 1 == 1 { (1..=16).contains(&g) } else { g == 0 }) && b[104..120].iter().all(|x| *x == 0)
        && u64a(b, 64) < P61 && u64a(b, 72) < 1 << 63 && u64a(b, 80) < 1 << 63 && u32a(b, 96) <= MAX_DICT
}
pub fn bin_intact(b: &[u8]) -> bool {
    let g = b[50];
    (1..=16777216).contains(&u32a(b, 36)) && u32a(b, 32) < 16777216 && (3..=12).contains(&b[48]) && b[49] == 0
        && (if b[40] & 1 == 1 { (1..=16).contains(&g) } else { g == 0 })
}

fn hex64(s: &[u8]) -> Option<u64> {
    if s.len() != 16 || !s.iter().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(c)) { return None; }
    u64::from_str_radix(std::str::from_utf8(s).unwrap(), 16).ok()
}
fn hex128(s: &[u8]) -> Option<[u8; 16]> {
    if s.len() != 32 { return None; }
    let (a, b) = (hex64(&s[..16])?, hex64(&s[16..])?);
    let mut o = [0; 16];
    o[..8].copy_from_slice(&a.to_be_bytes()); o[8..].copy_from_slice(&b.to_be_bytes());
    Some(o)
}
fn base64(s: &[u8]) -> Option<Vec<u8>> {
    if s.len() % 4 != 0 { return None; }
    let mut o = vec![];
    for (q, c) in s.chunks(4).enumerate() {
        let last = (q + 1) * 4 == s.len();
        let pad = if last { c.iter().rev().take_while(|x| **x == b'=').count() } else { 0 };
        if pad > 2 { return None; }
        let mut v = 0u32;
        for x in &c[..4 - pad] {
            v = v << 6 | match x { b'A'..=b'Z' => x - b'A', b'a'..=b'z' => x - b'a' + 26, b'0'..=b'9' => x - b'0' + 52, b'+' => 62, b'/' => 63, _ => return None } as u32;
        }
        v <<= 6 * pad;
        // GUESS: bits that are left over must be zero (RFC 4648 3.5 leaves it to the decoder)
        if v & ((1 << (8 * pad)) - 1) != 0 { return None; }
        o.extend_from_slice(&v.to_be_bytes()[1..4 - pad]);
    }
    Some(o)
}
pub fn manifest_number(name: &[u8]) -> Option<u64> {
    if name.len() != 24 || !name.starts_with(b"manifest.") || !name.ends_with(b".json") { return None; }
    let d = &name[9..19];
    if !d.iter().all(|c| c.is_ascii_digit()) { return None; }
    let n = std::str::from_utf8(d).unwrap().parse().unwrap();
    if n == 0 { None } else { Some(n) }
}

impl Dataset {
    pub fn open(dir: &Path) -> R<Dataset> {
        use std::os::unix::ffi::OsStrExt;
        for _ in 0..100 {
            let mut best = 0;
            match std::fs::read_dir(dir) {
                Err(e) => bail!(K::NotFound, "{}", e),
                Ok(l) => for e in l.flatten() { if let Some(n) = manifest_number(e.file_name().as_bytes()) { best = best.max(n); } },
            }
            if best == 0 {
                if real_dir(&dir.join("segments")).unwrap_or(false) {
                    for e in std::fs::read_dir(dir.join("segments")).map_err(|e| E { k: K::NotFound, m: e.to_string() })?.flatten() {
                        if hex128(e.file_name().as_bytes()).is_none() || !real_dir(&e.path()).unwrap_or(false) { continue; }
                        if let Ok(Some(fh)) = open_regular(&e.path().join("index")) {
                            if let Ok(b) = fh.read(0, 128) {
                                if check_header(&b, b'I', 128, 32).unwrap_or(false) && index_intact(&b) && u64a(&b, 40) > 0 && b[62] == 0 {
                                    bail!(K::Manifest, "there was a manifest, and it was lost");
                                }
                            }
                        }
                    }
                }
                bail!(K::NotFound, "no manifest");
            }
            let fh = match open_regular(&dir.join(format!("manifest.{:010}.json", best)))? { None => continue, Some(f) => f };
            ensure!(fh.size <= MAX_MANIFEST, K::Manifest, "manifest too long");
            let b = fh.read(0, fh.size).map_err(|e| E { k: K::Manifest, m: e.m })?;
            return Self::from_manifest(dir, &b, best);
        }
        err(K::NotFound, "manifests vanish faster than they are read")
    }
    fn from_manifest(dir: &Path, b: &[u8], number: u64) -> R<Dataset> {
        let m = |s: &str| E { k: K::Manifest, m: s.to_string() };
        let nl = b.iter().position(|c| *c == 10).ok_or(m("no line"))?;
        let (l1, l2) = (&b[..nl], &b[nl + 1..]);
        ensure!(l2 == format!("{{\"xxh3\":\"{:016x}\"}}\n", xxh(l1)).as_bytes(), K::Manifest, "second line");
        let j = json::parse(l1).map_err(|e| m(&e))?;
        let top = match &j { V::Obj(o) => o, _ => bail!(K::Manifest, "no object") };
        ensure!(j.get("format").and_then(|v| v.str()) == Some(b"splitdata"), K::Manifest, "format");
        let ver: Vec<i64> = j.get("version").and_then(|v| v.arr()).ok_or(m("version"))?.iter().map(|v| v.int()).collect::<Option<_>>().ok_or(m("version"))?;
        ensure!(ver.len() == 2 && ver.iter().all(|v| *v >= 0), K::Manifest, "version");
        ensure!(ver[0] == 1, K::Version, "dataset of version {}.{}, this reader knows 1.0", ver[0], ver[1]);
        let texts = |v: &V| -> Option<Vec<String>> { v.arr()?.iter().map(|x| x.str().map(|s| String::from_utf8_lossy(s).into_owned())).collect() };
        let mu = j.get("must_understand").and_then(texts).ok_or(m("must_understand"))?;
        if let Some(f) = mu.first() { bail!(K::Version, "unknown feature {:?} of the dataset", f); }
        let range = |o: &V, k: &str, lo: i64, hi: i64| -> R<u64> {
            match o.get(k).and_then(|v| v.int()) { Some(v) if v >= lo && v <= hi => Ok(v as u64), _ => err(K::Manifest, format!("field {}", k)) }
        };
        let generation = range(&j, "generation", 1, 9999999999)?;
        ensure!(j.get("dataset").and_then(|v| v.str()).and_then(hex128).is_some(), K::Manifest, "dataset");
        for k in ["writer", "time"] {
            if let Some(v) = j.get(k) {
                let s = v.str().ok_or(m(k))?;
                ensure!(s.iter().filter(|c| **c & 0xc0 != 0x80).count() <= 200, K::Manifest, "{}", k);
            }
        }
        let metadata = j.get("metadata").ok_or(m("metadata"))?.clone();
        ensure!(matches!(metadata, V::Obj(_)), K::Manifest, "metadata");
        ensure!(metadata.depth() <= 100 && metadata.size() <= 1048576, K::Manifest, "metadata beyond the limits");
        let mut schemas = vec![];
        if let Some(v) = j.get("schemas") {
            let a = v.arr().ok_or(m("schemas"))?;
            ensure!(a.len() <= 4096, K::Manifest, "schemas");
            let mut seen = HashSet::new(); let mut sum = 0;
            for t in a {
                let s = t.str().and_then(base64).ok_or(m("schemas"))?;
                sum += s.len();
                ensure!(!s.is_empty() && sum <= 4194304 && seen.insert(s.clone()), K::Manifest, "schemas");
                schemas.push(s);
            }
        }
        let schema = match j.get("schema") { None => None, Some(_) => Some(range(&j, "schema", 0, schemas.len() as i64 - 1)? as usize) };
        let known = ["format", "version", "generation", "dataset", "must_understand", "writer", "time", "metadata", "schemas", "schema", "segments"];
        for (k, v) in top { if !known.iter().any(|x| x.as_bytes() == &k[..]) { ensure!(v.depth() <= 100, K::Manifest, "unknown key nests too deep"); } }
        let a = j.get("segments").and_then(|v| v.arr()).ok_or(m("segments"))?;
        ensure!(a.len() <= 10000, K::Manifest, "segments");
        let mut segs: Vec<Seg> = vec![]; let mut ids = HashSet::new(); let mut total = 0u64;
        for s in a {
            let o = match s { V::Obj(o) => o, _ => bail!(K::Manifest, "segment") };
            let id = s.get("id").and_then(|v| v.str()).ok_or(m("id"))?;
            let idb = hex128(id).ok_or(m("id"))?;
            ensure!(ids.insert(idb), K::Manifest, "id twice");
            let records = range(s, "records", 0, 4294967294)?;
            let bins = range(s, "bins", 1, 16777216)?;
            let sealed = match s.get("sealed") { Some(V::Bool(b)) => *b, _ => bail!(K::Manifest, "sealed") };
            let digest = s.get("digest").and_then(|v| v.str()).and_then(hex64).ok_or(m("digest"))?;
            ensure!(digest < P61, K::Manifest, "digest");
            let raw_bytes = range(s, "raw_bytes", 0, i64::MAX)?;
            let stored_bytes = range(s, "stored_bytes", 0, i64::MAX)?;
            let mut group = 0;
            if s.get("group").is_some() {
                group = range(s, "group", 2, 65536)?;
                ensure!(group.is_power_of_two() && (sealed || records % group == 0), K::Manifest, "group");
            }
            let mut keys = None;
            if s.get("keys").is_some() || s.get("keys_bytes").is_some() {
                keys = Some((range(s, "keys", 1, records as i64)?, range(s, "keys_bytes", 0, i64::MAX)?));
            }
            let mut sch = None;
            if let Some(v) = s.get("schemas") {
                let a: Vec<usize> = v.arr().ok_or(m("schemas"))?.iter().map(|x| x.int().filter(|i| *i >= 0 && *i < schemas.len() as i64).map(|i| i as usize)).collect::<Option<_>>().ok_or(m("schemas"))?;
                ensure!(a.len() <= 1024 && a.iter().collect::<HashSet<_>>().len() == a.len(), K::Manifest, "schemas of a segment");
                sch = Some(a);
            }
            let mut deleted = None;
            if s.get("deleted").is_some() || s.get("deleted_hash").is_some() {
                let n = range(s, "deleted", 1, records as i64)?;
                deleted = Some((n, s.get("deleted_hash").and_then(|v| v.str()).and_then(hex64).ok_or(m("deleted_hash"))?));
            }
            let features = match s.get("must_understand") { None => vec![], Some(v) => texts(v).ok_or(m("must_understand"))? };
            ensure!(features.iter().any(|x| x == "groups") == (group > 0), K::Manifest, "groups");
            ensure!(features.iter().any(|x| x == "deleted") == deleted.is_some(), K::Manifest, "deleted");
            let known = ["id", "records", "bins", "sealed", "digest", "raw_bytes", "stored_bytes", "group", "keys", "keys_bytes", "schemas", "deleted", "deleted_hash", "must_understand"];
            for (k, v) in o { if !known.iter().any(|x| x.as_bytes() == &k[..]) { ensure!(v.depth() <= 100, K::Manifest, "unknown key nests too deep"); } }
            segs.push(Seg { id: String::from_utf8(id.to_vec()).unwrap(), idb, records, bins, sealed, digest, raw_bytes, stored_bytes, group, keys, schemas: sch, deleted, features, first: total });
            total += records;
        }
        ensure!(generation == number, K::Manifest, "generation {} in the file of number {}", generation, number);
        let caches = segs.iter().map(|_| Cache::default()).collect();
        Ok(Dataset { dir: dir.to_path_buf(), segs, caches, metadata, schemas, schema, total, generation })
    }

    pub fn path(&self, si: usize) -> R<PathBuf> {
        let a = self.dir.join("segments");
        let p = a.join(&self.segs[si].id);
        if real_dir(&a)? { real_dir(&p)?; }
        Ok(p)
    }
    pub fn locate(&self, p: u64) -> (usize, u64) {
        let mut i = self.segs.partition_point(|s| s.first <= p) - 1;
        while self.segs[i].records == 0 { i -= 1; }
        (i, p - self.segs[i].first)
    }
    pub fn index(&mut self, si: usize) -> R<Rc<Index>> {
        if self.caches[si].index.is_none() { let r = self.index_(si); self.caches[si].index = Some(r); }
        self.caches[si].index.clone().unwrap()
    }
    fn index_(&self, si: usize) -> R<Rc<Index>> {
        let fh = match open_regular(&self.path(si)?.join("index"))? { Some(f) => f, None => bail!(K::Truncated, "no index") };
        let b = fh.read(0, 128.min(fh.size))?;
        let mut h = None;
        if check_header(&b, b'I', 128, 32)? && index_intact(&b) {
            ensure!(b[16..32] == self.segs[si].idb, K::Format, "index of another segment");
            h = Some(b);
        }
        Ok(Rc::new(Index { fh, h }))
    }
    pub fn bin(&mut self, si: usize, no: u64) -> R<Rc<Bin>> {
        if let Some(r) = self.caches[si].bins.get(&no) { return r.clone(); }
        if self.caches[si].bins.len() > 200 { self.caches[si].bins.clear(); }
        let r = self.bin_(si, no);
        self.caches[si].bins.insert(no, r.clone());
        r
    }
    fn bin_(&self, si: usize, no: u64) -> R<Rc<Bin>> {
        let fh = match open_regular(&self.path(si)?.join(format!("{:06}.bin", no)))? { Some(f) => f, None => bail!(K::MissingBin, "bin {}", no) };
        let b = fh.read(0, 64.min(fh.size))?;
        let mut h = None;
        if check_header(&b, b'B', 64, 40)? && bin_intact(&b) {
            ensure!(b[16..32] == self.segs[si].idb && u32a(&b, 32) == no, K::Format, "bin of another segment or number");
            h = Some(b);
        }
        Ok(Rc::new(Bin { fh, h, no }))
    }
    pub fn entry(&mut self, si: usize, f: u64) -> R<Vec<u8>> {
        let ix = self.index(si)?;
        ix.fh.read(128 + self.segs[si].stride() * f, 16)
    }
    /// steps 2 to 7 of section 9
    pub fn frame(&mut self, si: usize, f: u64) -> R<(Rc<Bin>, Frame)> {
        let e = self.entry(si, f)?;
        let loc = u64a(&e, 0);
        ensure!(loc != u64::MAX, K::Corrupt, "lost");
        let (no, off) = (loc >> 40, (loc & 0xffffffffff) * 8);
        ensure!(no == f % self.segs[si].bins, K::Corrupt, "entry leads to another bin");
        let bin = self.bin(si, no)?;
        let mut h = bin.fh.read(off, 32)?;
        if h[20] == 4 { h = bin.fh.read(off, 64)?; }
        let fr = Frame::parse(&h, off);
        ensure!(fr.seq == f && h[24..32] == e[8..16] && fr.valid(self.segs[si].group > 0), K::Corrupt, "frame header");
        ensure!(fr.proof_end().map_or(false, |x| x <= bin.fh.size), K::Truncated, "payload beyond the end");
        Ok((bin, fr))
    }
    /// steps 8 and 9: the raw payload of a frame
    pub fn raw(&mut self, si: usize, f: u64) -> R<Rc<Vec<u8>>> {
        if let Some((g, r)) = &self.caches[si].last { if *g == f { return r.clone(); } }
        let r = self.raw_(si, f).map(Rc::new);
        if self.segs[si].group > 0 { self.caches[si].last = Some((f, r.clone())); }
        r
    }
    fn large_hashes(bin: &Bin, fr: &Frame) -> R<Vec<u8>> {
        let t = bin.fh.read(fr.hashes_at().unwrap(), 8 * fr.blocks())?;
        ensure!(xxh(&t) == fr.hash, K::Corrupt, "hash of the block hashes");
        Ok(t)
    }
    fn raw_(&mut self, si: usize, f: u64) -> R<Vec<u8>> {
        let (bin, fr) = self.frame(si, f)?;
        if fr.codec != 0 { ensure!(fr.raw <= MAX_COMPRESSED_RAW, K::TooLarge, "raw length {}", fr.raw); }
        let stored;
        if fr.kind == 4 {
            let t = Self::large_hashes(&bin, &fr)?;
            stored = bin.fh.read(fr.off + 64, fr.stored)?;
            for (i, c) in stored.chunks(BLOCK as usize).enumerate() { ensure!(xxh(c) == u64a(&t, 8 * i), K::Corrupt, "block {}", i); }
        } else {
            stored = bin.fh.read(fr.off + 32, fr.stored)?;
            ensure!(xxh(&stored) == fr.hash, K::Corrupt, "payload hash");
        }
        if fr.codec == 0 { return Ok(stored); }
        let z = zstd_header(&stored).ok_or(E { k: K::Corrupt, m: "no zstd frame".into() })?;
        ensure!(z.content == fr.raw && z.window <= MAX_WINDOW.max(z.content), K::Corrupt, "zstd header");
        let d = if fr.codec == 2 { Some(self.dictionary(si)?) } else { None };
        ensure!(z.dict_id == 0 || d.as_ref().map_or(false, |d| d.id == z.dict_id), K::Corrupt, "dictionary id");
        zstd_decompress(&stored, fr.raw as usize, d.as_deref()).ok_or(E { k: K::Corrupt, m: "zstd".into() })
    }
    pub fn dictionary(&mut self, si: usize) -> R<Rc<DDict>> {
        if self.caches[si].dict.is_none() {
            let r = self.dictionary_bytes(si).and_then(|b| DDict::new(b).map(Rc::new).ok_or(E { k: K::Corrupt, m: "dictionary is not formatted".into() }));
            self.caches[si].dict = Some(r);
        }
        self.caches[si].dict.clone().unwrap()
    }
    /// places of the tables: block sums, bin table, dictionary, footer
    pub fn tables(&self, si: usize, dict: u64) -> (u64, u64, u64, u64) {
        let s = &self.segs[si];
        let e = (65536 / s.stride()).max(1);
        let a = 128 + s.stride() * s.frames();
        let b = a + 8 * s.frames().div_ceil(e);
        let c = b + 8 * s.bins;
        (a, b, c, c + align(dict, 8))
    }
    pub fn index_dictionary(&self, si: usize, ix: &Index) -> Option<Vec<u8>> {
        let h = ix.h.as_ref()?;
        let n = u32a(h, 96);
        let (_, _, c, d) = self.tables(si, n);
        let mut t = ix.fh.read(c, d - c).ok()?;
        let foot = ix.fh.read(d, 24).ok()?;
        if u64a(&foot, 16) != xxh(&t) { return None; }
        t.truncate(n as usize);
        Some(t)
    }
    fn dictionary_bytes(&mut self, si: usize) -> R<Vec<u8>> {
        let ix = self.index(si)?;
        if self.segs[si].sealed {
            if let Some(t) = self.index_dictionary(si, &ix) {
                ensure!(!t.is_empty(), K::Corrupt, "there is no dictionary");
                return Ok(t);
            }
        }
        let bin = self.bin(si, 0)?;
        // GUESS: the alignment is that of the bin's header, else of the index header, else all are tried
        let al: Vec<u64> = match (&bin.h, &ix.h) { (Some(h), _) => vec![1 << h[48]], (None, Some(h)) => vec![1 << h[60]], _ => (3..13).map(|x| 1 << x).collect() };
        for a in al {
            if let Some((0, k, p, _)) = Self::control(&bin, next(64, 32, a))? { if k == 1 { return Ok(p); } }
        }
        err(K::Corrupt, "there is no dictionary")
    }
    /// the control frame at this place, if its form and payload hash are right: (0, kind, payload, frame); (1, ...) if hash or form are wrong
    pub fn control(bin: &Bin, off: u64) -> R<Option<(u8, u8, Vec<u8>, Frame)>> {
        let h = match bin.fh.read(off, 32) { Ok(h) => h, Err(_) => return Ok(None) };
        let fr = Frame::parse(&h, off);
        if fr.seq != ESC { return Ok(None); }
        let fr = Frame { hl: 32, stored: u32a(&h, 24), raw: u32a(&h, 28), ..fr };
        let max = match fr.kind { 1 => MAX_DICT, 2 => 1048576, _ => 0 };
        let bad = fr.codec != 0 || fr.stored != fr.raw || fr.keylen != 0 || fr.stored > max || fr.stored == 0 || fr.off + 32 + fr.stored > bin.fh.size;
        if bad { return Ok(Some((1, fr.kind, vec![], fr))); }
        let p = bin.fh.read(off + 32, fr.stored)?;
        let ok = xxh(&p) == fr.hash;
        Ok(Some((if ok { 0 } else { 1 }, fr.kind, p, fr)))
    }

    /// section 13
    pub fn deleted(&mut self, si: usize) -> R<Rc<Vec<u32>>> {
        if self.caches[si].del.is_none() { let r = self.deleted_(si).map(Rc::new); self.caches[si].del = Some(r); }
        self.caches[si].del.clone().unwrap()
    }
    fn deleted_(&self, si: usize) -> R<Vec<u32>> {
        let (n, hash) = match self.segs[si].deleted { Some(x) => x, None => return Ok(vec![]) };
        let fh = match open_regular(&self.path(si)?.join(format!("deleted.{:016x}", hash)))? { Some(f) => f, None => bail!(K::Format, "no list of deleted records") };
        let l = 64 + 4 * n;
        for half in 0..2 {
            let b = match fh.read(half * l, l) { Ok(b) => b, Err(_) => continue };
            if xxh(&b) != hash { continue; }
            ensure!(check_header(&b, b'X', 64, 32)?, K::Format, "header of the list of deleted records");
            ensure!(b[16..32] == self.segs[si].idb, K::Format, "list of another segment");
            ensure!(u64a(&b, 40) == n, K::Format, "count of the list of deleted records");
            let v: Vec<u32> = b[64..].chunks(4).map(|c| u32::from_le_bytes(c.try_into().unwrap())).collect();
            ensure!(v.windows(2).all(|w| w[0] < w[1]), K::Format, "order of the list of deleted records");
            return Ok(v);
        }
        err(K::Format, "list of deleted records")
    }
    pub fn start(&mut self, p: u64) -> R<(usize, u64, u64)> {
        let (si, s) = self.locate(p);
        if let Some(f) = self.segs[si].unknown() { bail!(K::Version, "segment of an unknown feature {:?}", f); }
        if self.segs[si].deleted.is_some() {
            ensure!(self.deleted(si)?.binary_search(&(s as u32)).is_err(), K::Deleted, "deleted");
        }
        let g = self.segs[si].group;
        Ok((si, s, if g > 0 { s / g } else { s }))
    }
    pub fn read(&mut self, p: u64) -> R<Vec<u8>> {
        let (si, s, f) = self.start(p)?;
        let raw = self.raw(si, f)?;
        if self.segs[si].group == 0 { return Ok(Rc::try_unwrap(raw).unwrap_or_else(|r| (*r).clone())); }
        let (a, b) = self.group(si, f, &raw)?.item(s % self.segs[si].group)?;
        Ok(raw[a..b].to_vec())
    }
    pub fn range(&mut self, p: u64, start: u64, stop: u64) -> R<Vec<u8>> {
        let (si, _, f) = self.start(p)?;
        if self.segs[si].group == 0 {
            let (bin, fr) = self.frame(si, f)?;
            if fr.kind == 4 && fr.codec == 0 {
                let t = Self::large_hashes(&bin, &fr)?;
                let (start, stop) = (start.min(fr.stored), stop.min(fr.stored).max(start.min(fr.stored)));
                let mut out = vec![];
                let mut i = start / BLOCK;
                while start < stop && i * BLOCK < stop {
                    let n = BLOCK.min(fr.stored - i * BLOCK);
                    let c = bin.fh.read(fr.off + 64 + i * BLOCK, n)?;
                    ensure!(xxh(&c) == u64a(&t, 8 * i as usize), K::Corrupt, "block {}", i);
                    out.extend_from_slice(&c[start.saturating_sub(i * BLOCK) as usize..(stop - i * BLOCK).min(n) as usize]);
                    i += 1;
                }
                return Ok(out);
            }
        }
        let r = self.read(p)?;
        let n = r.len() as u64;
        let a = start.min(n);
        Ok(r[a as usize..stop.min(n).max(a) as usize].to_vec())
    }
    /// the length without the data: not proven
    #[allow(dead_code)]
    pub fn length(&mut self, p: u64) -> R<u64> {
        match self.start(p) { Err(e) if e.k == K::Deleted => return Ok(0), Err(e) => return Err(e), Ok(_) => {} }
        let (si, s, f) = self.start(p)?;
        let ix = self.index(si)?;
        let g = self.segs[si].group;
        let e = self.entry(si, f)?;
        ensure!(u64a(&e, 0) != u64::MAX, K::Corrupt, "lost");
        if g > 0 {
            return Ok(u32a(&ix.fh.read(128 + self.segs[si].stride() * f + 16 + 4 * (s % g), 4)?, 0));
        }
        if u32a(&e, 12) == ESC { return Ok(self.frame(si, f)?.1.raw); }
        Ok(u32a(&e, 12))
    }
    pub fn group<'a>(&self, si: usize, f: u64, p: &'a [u8]) -> R<Group<'a>> {
        let s = &self.segs[si];
        let c = s.group.min(s.records - f * s.group);
        ensure!(p.len() >= 8, K::Corrupt, "group too short");
        let (count, flags) = (u32a(p, 0), u32a(p, 4));
        ensure!(count >= c && count <= s.group, K::Corrupt, "count of the group");
        ensure!(flags & !0x1ff == 0 && flags & 0xff <= 6, K::Corrupt, "flags of the group");
        let keys = flags & 256 != 0;
        let tables = 8 + 4 * count * if keys { 2 } else { 1 };
        ensure!(tables <= p.len() as u64, K::Corrupt, "tables of the group");
        Ok(Group { p, count, c, a: 1 << (flags & 0xff), keys, tables })
    }
    /// the key of a record: section 9, end
    pub fn key(&mut self, p: u64) -> R<Option<Vec<u8>>> {
        let (si, s, f) = self.start(p)?;
        self.key_of(si, s, f)
    }
    pub fn key_of(&mut self, si: usize, s: u64, f: u64) -> R<Option<Vec<u8>>> {
        if self.segs[si].group > 0 {
            let raw = self.raw(si, f)?;
            return Ok(self.group(si, f, &raw)?.key(s % self.segs[si].group)?.map(|(a, b)| raw[a..b].to_vec()));
        }
        let (bin, fr) = self.frame(si, f)?;
        ensure!(fr.check_ok(salt(&self.segs[si].idb, bin.no)), K::Corrupt, "header check");
        if fr.keylen == 0 { return Ok(None); }
        let b = bin.fh.read(fr.proof_end().unwrap(), fr.keylen + 8)?;
        let (k, h) = b.split_at(fr.keylen as usize);
        ensure!(xxh(k) == u64a(h, 0) && std::str::from_utf8(k).is_ok(), K::Corrupt, "key");
        Ok(Some(k.to_vec()))
    }

    /// section 12: runs (offset, keys, fences hash) of an intact directory that ends at `end`
    pub fn directory(fh: &Fh, end: u64) -> Option<(u64, Vec<(u64, u64, u64)>)> {
        if end % 8 != 0 || end < 24 + 64 { return None; }
        let foot = fh.read(end - 24, 24).ok()?;
        let (total, n) = (u64a(&foot, 0), u64a(&foot, 8));
        if n > 65536 { return None; }
        let begin = (end - 24).checked_sub(24 * n)?;
        if begin < 64 { return None; }
        let mut d = fh.read(begin, end - begin).ok()?;
        let h = u64a(&d, d.len() - 8);
        d.truncate(d.len() - 8);
        if xxh(&d) != h { return None; }
        let mut runs = vec![]; let mut sum = 0u64; let mut spans = vec![];
        for r in d[..24 * n as usize].chunks(24) {
            let (o, k) = (u64a(r, 0), u64a(r, 8));
            if o % 8 != 0 || o < 64 || k == 0 || k > 1 << 40 { return None; }
            sum = sum.checked_add(k)?;
            let e = o.checked_add(run_fences(k) + 16 * k.div_ceil(1024))?;
            if e > begin { return None; }
            spans.push((o, e));
            runs.push((o, k, u64a(r, 16)));
        }
        spans.sort();
        if spans.windows(2).any(|w| w[0].1 > w[1].0) || sum != total { return None; }
        Some((begin, runs))
    }
    pub fn keys_file(&self, si: usize) -> R<(Fh, u64, Vec<(u64, u64, u64)>, u64, &'static str)> {
        let s = &self.segs[si];
        let kb = s.keys.unwrap().1;
        let dir = self.path(si)?;
        for name in if s.sealed { &["keys"][..] } else { &["keys.open", "keys"][..] } {
            let fh = match open_regular(&dir.join(name))? { Some(f) => f, None => continue };
            let b = fh.read(0, 64.min(fh.size))?;
            if check_header(&b, b'K', 64, 32)? { ensure!(b[16..32] == s.idb, K::Format, "keys of another segment"); }
            if let Some((a, r)) = Self::directory(&fh, kb) { return Ok((fh, a, r, kb, name)); }
            if *name == "keys" { let n = fh.size; if let Some((a, r)) = Self::directory(&fh, n) { return Ok((fh, a, r, n, name)); } }
        }
        err(K::Format, "no intact directory of keys")
    }
    pub fn find(&mut self, key: &[u8]) -> R<Option<u64>> {
        let h = xxh(key);
        for si in (0..self.segs.len()).rev() {
            let (records, sealed, g) = (self.segs[si].records, self.segs[si].sealed, self.segs[si].group);
            if self.segs[si].keys.is_none() { continue; }
            if let Some(f) = self.segs[si].unknown() { bail!(K::Version, "segment of an unknown feature {:?}", f); }
            let del = self.deleted(si)?;
            let (fh, _, runs, _, _) = self.keys_file(si)?;
            let mut cand: Vec<u32> = vec![];
            for (o, k, fhash) in runs {
                let nb = k.div_ceil(1024);
                let fences = fh.read(o + run_fences(k), 16 * nb)?;
                ensure!(xxh(&fences) == fhash, K::Format, "fences");
                let first = |i: u64| u64a(&fences, 16 * i as usize);
                let mut i = (0..nb).collect::<Vec<_>>().partition_point(|i| first(*i) <= h) as u64;
                while i > 0 {
                    i -= 1;
                    let m = 1024.min(k - i * 1024);
                    let b = fh.read(o + 12288 * i, align(12 * m, 8))?;
                    ensure!(xxh(&b) == u64a(&fences, 16 * i as usize + 8), K::Format, "block of keys");
                    for j in 0..m as usize { if u64a(&b, 8 * j) == h { cand.push(u32a(&b, 8 * m as usize + 4 * j) as u32); } }
                    if first(i) != h { break; }
                }
            }
            cand.sort(); cand.dedup();
            for s in cand.into_iter().rev() {
                let s64 = s as u64;
                if s64 >= records { if sealed { bail!(K::Format, "key of no record"); } continue; }
                if del.binary_search(&s).is_ok() { continue; }
                match self.key_of(si, s64, if g > 0 { s64 / g } else { s64 })? {
                    Some(k) if k == key => return Ok(Some(self.segs[si].first + s64)),
                    Some(k) if xxh(&k) == h => {}
                    _ => bail!(K::Corrupt, "record {} has another key than its segment's keys say", s),
                }
            }
        }
        Ok(None)
    }
    pub fn digest(&self) -> u64 { self.segs.iter().fold(0, |d, s| dig_join(d, s.digest, s.records)) }
    fn schema_lists(&self) -> Option<Vec<u8>> {
        let mut lists: Vec<&[usize]> = vec![&[]]; // equal places are equal schemas: no two are equal
        let mut any = false;
        for s in self.segs.iter().filter(|s| s.records > 0) {
            let l = s.schemas.as_deref().unwrap_or(&[]);
            any |= !l.is_empty();
            let last = lists.last_mut().unwrap();
            if l.starts_with(last) { *last = l; } else if !last.starts_with(l) { lists.push(l); }
        }
        if !any { return None; }
        let mut o = vec![];
        for l in lists {
            o.extend_from_slice(&(l.len() as u32).to_le_bytes());
            for i in l { o.extend_from_slice(&(self.schemas[*i].len() as u32).to_le_bytes()); o.extend_from_slice(&self.schemas[*i]); }
        }
        Some(o)
    }
    pub fn fingerprint(&self) -> String {
        let s = format!("{}-{:016x}", self.total, self.digest());
        match self.schema_lists() { None => s, Some(l) => format!("{}-{:016x}", s, xxh(&l)) }
    }
    pub fn sha256(&mut self) -> R<String> {
        let mut all = Sha256::new();
        let mut leaf = Sha256::new();
        for p in 0..self.total {
            if p > 0 && p % 1024 == 0 { all.update(&std::mem::replace(&mut leaf, Sha256::new()).finish()); }
            match self.read(p) {
                Ok(r) => { leaf.update(&(r.len() as u64).to_le_bytes()); leaf.update(&r); }
                Err(e) if e.k == K::Deleted => leaf.update(&u64::MAX.to_le_bytes()),
                Err(e) => return Err(e),
            }
        }
        if self.total > 0 { all.update(&leaf.finish()); }
        if let Some(l) = self.schema_lists() {
            let mut s = Sha256::new();
            s.update(&(u64::MAX - 1).to_le_bytes()); s.update(&l);
            all.update(&s.finish());
        }
        Ok(all.finish().iter().map(|b| format!("{:02x}", b)).collect())
    }
}
pub fn run_fences(k: u64) -> u64 { let m = k % 1024; 12288 * (k / 1024) + align(12 * m, 8) }
pub struct Group<'a> { pub p: &'a [u8], pub count: u64, pub c: u64, pub a: u64, pub keys: bool, pub tables: u64 }
impl<'a> Group<'a> {
    pub fn end(&self, i: u64) -> u64 { u32a(self.p, 8 + 4 * i as usize) }
    pub fn key_end(&self, i: u64) -> u64 { u32a(self.p, 8 + 4 * (self.count + i) as usize) }
    pub fn item(&self, i: u64) -> R<(usize, usize)> {
        let b = align(if i == 0 { self.tables } else { self.end(i - 1) }, self.a);
        let e = self.end(i);
        ensure!(b >= self.tables && b <= e && e <= self.p.len() as u64, K::Corrupt, "item of the group");
        Ok((b as usize, e as usize))
    }
    pub fn key(&self, i: u64) -> R<Option<(usize, usize)>> {
        if !self.keys { return Ok(None); }
        let b = if i == 0 { self.end(self.count - 1) } else { self.key_end(i - 1) };
        let e = self.key_end(i);
        ensure!(b >= self.tables && b <= e && e <= self.p.len() as u64 && e - b <= 65535, K::Corrupt, "key of the group");
        if b == e { return Ok(None); }
        let (b, e) = (b as usize, e as usize);
        ensure!(std::str::from_utf8(&self.p[b..e]).is_ok(), K::Corrupt, "key of the group is no UTF-8");
        Ok(Some((b, e)))
    }
}
