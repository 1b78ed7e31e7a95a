//! docs/format/samples.md: typed samples, to a printed text.
use crate::hash::*;
use crate::reader::*;
use std::collections::HashSet;

macro_rules! ensure { ($c:expr, $k:expr, $($a:tt)*) => { if !$c { return err($k, format!($($a)*)) } } }
fn bad<T>(m: &str) -> R<T> { err(K::Format, m) }

/// generalised UTF-8: surrogates alone in three bytes, nothing else that is not UTF-8
pub fn text(b: &[u8]) -> R<String> {
    if let Ok(s) = std::str::from_utf8(b) { return Ok(s.to_string()); }
    let mut o = String::new(); let mut i = 0;
    while i < b.len() {
        if b[i] == 0xed && i + 2 < b.len() && (0xa0..=0xbf).contains(&b[i + 1]) && b[i + 2] & 0xc0 == 0x80 {
            o.push_str(&format!("\\u{{{:x}}}", 0xd000 | (b[i + 1] as u32 & 63) << 6 | (b[i + 2] as u32 & 63))); i += 3; continue;
        }
        let n = match b[i] { 0..=0x7f => 1, 0xc2..=0xdf => 2, 0xe0..=0xef => 3, 0xf0..=0xf4 => 4, _ => return bad("text is not UTF-8") };
        match b.get(i..i + n).and_then(|c| std::str::from_utf8(c).ok()) { Some(s) => o.push_str(s), None => return bad("text is not UTF-8") }
        i += n;
    }
    Ok(o)
}
#[derive(Clone, Debug)]
enum Dt { Name { kind: u8, big: bool, size: u64, name: String }, Struct { size: u64, fields: Vec<(String, u64, Vec<u64>, Dt)> } }
impl Dt { fn size(&self) -> u64 { match self { Dt::Name { size, .. } | Dt::Struct { size, .. } => *size } } }
#[derive(Debug)]
enum Node { Plain(u8), Seq(u8, String, Vec<(String, Node)>), Array { kind: u8, dims: Vec<Option<u64>>, dt: Dt }, Optional(Box<Node>) }
pub struct Schema { root: Node, extents: u64, scalars: u64 }
struct Rd<'a> { b: &'a [u8], i: usize, extents: u64, scalars: u64 }
fn number(s: &str) -> Option<u64> {
    if s.is_empty() || s.len() > 10 || s.starts_with('0') || !s.bytes().all(|c| c.is_ascii_digit()) { None } else { s.parse().ok() }
}
fn dtype_name(n: &str) -> Option<Dt> {
    let b = n.as_bytes();
    if b.len() < 2 { return None; }
    let (o, k, rest) = (b[0], b[1], &n[2..]);
    let lb = o == b'<' || o == b'>';
    let size = match (k, rest) {
        (b'b' | b'i' | b'u', "1") if o == b'|' => 1,
        (b'i' | b'u', "2" | "4" | "8") if lb => number(rest)?,
        (b'f', "2" | "4" | "8") if lb => number(rest)?,
        (b'c', "8" | "16") if lb => number(rest)?,
        (b'S' | b'V', r) if o == b'|' => number(r)?,
        (b'U', r) if lb => number(r)? * 4,
        (b'M' | b'm', r) if lb => {
            if !r.is_empty() {
                let u = r.strip_prefix('[')?.strip_suffix(']')?;
                let d = u.bytes().take_while(|c| c.is_ascii_digit()).count();
                if d > 0 && (d > 9 || u.starts_with('0')) { return None; }
                if !["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"].contains(&&u[d..]) { return None; }
            }
            8
        }
        _ => return None,
    };
    if !(1..=2147483647).contains(&size) { return None; }
    Some(Dt::Name { kind: k, big: o == b'>', size, name: n.into() })
}
impl<'a> Rd<'a> {
    fn take(&mut self, n: u64) -> R<&'a [u8]> {
        ensure!(n <= (self.b.len() - self.i) as u64, K::Format, "end of the schema within a node");
        let r = &self.b[self.i..self.i + n as usize];
        self.i += n as usize;
        Ok(r)
    }
    fn u8(&mut self) -> R<u8> { Ok(self.take(1)?[0]) }
    fn u32(&mut self) -> R<u64> { Ok(u32a(self.take(4)?, 0)) }
    fn text(&mut self) -> R<(String, &'a [u8])> { let n = self.u32()?; let b = self.take(n)?; Ok((text(b)?, b)) }
    fn dtype(&mut self, depth: u32) -> R<Dt> {
        let n = self.u8()?;
        if n > 0 {
            let b = self.take(n as u64)?;
            ensure!(b.is_ascii(), K::Format, "name of a data type is not ASCII");
            let s = std::str::from_utf8(b).unwrap();
            return dtype_name(s).ok_or(E { k: K::Version, m: format!("data type {:?}", s) });
        }
        ensure!(depth < 8, K::Format, "structures nest too deep");
        let size = self.u32()?;
        ensure!((1..=2147483647).contains(&size), K::Format, "size of an element");
        let nf = self.u32()?;
        let mut fields = vec![]; let mut seen = HashSet::new();
        for _ in 0..nf {
            let off = self.u32()?;
            let (name, nb) = self.text()?;
            ensure!(seen.insert(nb), K::Format, "field twice");
            let nd = self.u8()?;
            ensure!(nd <= 64, K::Format, "too many dimensions");
            let mut dims = vec![];
            for _ in 0..nd { dims.push(self.u32()?); }
            let dt = self.dtype(depth + 1)?;
            check_dims(&dims, dt.size())?;
            let total = dims.iter().fold(dt.size() as u128, |a, d| a.saturating_mul(*d as u128));
            ensure!(off as u128 + total <= size as u128, K::Format, "field is not within the element");
            fields.push((name, off, dims, dt));
        }
        Ok(Dt::Struct { size, fields })
    }
    fn node(&mut self, depth: u32) -> R<Node> {
        let kind = self.u8()?;
        if matches!(kind, 16..=20 | 48) { ensure!(depth < 64, K::Format, "nodes nest too deep"); }
        Ok(match kind {
            0 => Node::Plain(0),
            1 | 2 | 4 | 7 => { self.scalars += 1; Node::Plain(kind) }
            3 | 5 | 6 | 21 | 22 => { self.extents += 1; Node::Plain(kind) }
            8 | 9 => { self.scalars += 2; Node::Plain(kind) }
            10 | 11 => { self.extents += 1; self.scalars += 3; Node::Plain(kind) }
            16..=20 => {
                let name = if kind >= 19 { self.text()?.0 } else { String::new() };
                let n = self.u32()?;
                let mut parts = vec![]; let mut seen: HashSet<(u8, &[u8])> = HashSet::new();
                for _ in 0..n {
                    let mut key = String::new();
                    if kind == 18 {
                        match self.u8()? {
                            0 => { let (t, b) = self.text()?; ensure!(seen.insert((0, b)), K::Format, "key twice"); key = format!("{:?}", t); }
                            1 => { let b = self.take(8)?; ensure!(seen.insert((1, b)), K::Format, "key twice"); key = (u64a(b, 0) as i64).to_string(); }
                            k => return err(K::Version, format!("kind of a key {}", k)),
                        }
                    } else if kind >= 19 {
                        let (t, b) = self.text()?; ensure!(seen.insert((0, b)), K::Format, "field twice"); key = t;
                    }
                    parts.push((key, self.node(depth + 1)?));
                }
                Node::Seq(kind, name, parts)
            }
            32..=36 => {
                let mut dims = vec![];
                if kind != 33 {
                    let nd = self.u8()?;
                    ensure!(nd <= 64, K::Format, "too many dimensions");
                    for _ in 0..nd {
                        let mut v = None;
                        if kind >= 35 { let x = u64a(self.take(8)?, 0); if x != u64::MAX { v = Some(x); } }
                        if v.is_none() { self.extents += 1; }
                        dims.push(v);
                    }
                }
                let dt = if kind == 34 || kind == 36 {
                    let n = self.u8()?;
                    let b = self.take(n as u64)?;
                    let s = std::str::from_utf8(b).ok().filter(|s| s.is_ascii()).ok_or(E { k: K::Format, m: "name of a tensor's type".into() })?;
                    let name = |kind, size| Dt::Name { kind, big: false, size, name: s.into() };
                    match s {
                        "bfloat16" => name(b'B', 2), "float8_e4m3fn" | "float8_e5m2" => name(b'F', 1),
                        _ => match dtype_name(s) { Some(Dt::Name { kind, big: false, size, name }) if b"biufc".contains(&kind) => Dt::Name { kind, big: false, size, name }, _ => return err(K::Version, format!("tensor of {:?}", s)) },
                    }
                } else { self.dtype(0)? };
                Node::Array { kind, dims, dt }
            }
            48 => { self.scalars += 1; Node::Optional(Box::new(self.node(depth + 1)?)) }
            _ => return err(K::Version, format!("kind of a node {}", kind)),
        })
    }
}
fn check_dims(dims: &[u64], size: u64) -> R<u64> {
    let all = dims.iter().fold(size as u128, |a, d| a.saturating_mul((*d).max(1) as u128));
    ensure!(all <= i64::MAX as u128, K::Format, "array too large");
    if let Some(z) = dims.iter().position(|d| *d == 0) {
        ensure!(dims[..z].iter().fold(1u128, |a, d| a.saturating_mul(*d as u128)) <= 1048576, K::Format, "too many empty elements");
        return Ok(0);
    }
    Ok(all as u64)
}
pub fn schema(b: &[u8]) -> R<Schema> {
    ensure!(b.len() <= MAX_SCHEMA, K::Format, "schema too long");
    let mut r = Rd { b, i: 0, extents: 0, scalars: 0 };
    let root = r.node(0)?;
    ensure!(r.i == b.len(), K::Format, "bytes behind the schema");
    Ok(Schema { root, extents: r.extents, scalars: r.scalars })
}
/// a payload: bytes, whether it is an array
fn payloads(n: &Node, ext: &mut std::slice::Iter<u64>, out: &mut Vec<(u64, bool, Vec<u64>)>) -> R<()> {
    match n {
        Node::Plain(k) => match k {
            3 | 5 | 6 | 10 | 11 => out.push((*ext.next().unwrap(), false, vec![])),
            21 | 22 => { let x = *ext.next().unwrap(); out.push((check_dims(&[x], 8)?, true, vec![x])); }
            _ => {}
        },
        Node::Seq(_, _, p) => for (_, x) in p { payloads(x, ext, out)?; },
        Node::Optional(x) => payloads(x, ext, out)?,
        Node::Array { dims, dt, .. } => {
            let d: Vec<u64> = dims.iter().map(|x| x.unwrap_or_else(|| *ext.next().unwrap())).collect();
            out.push((check_dims(&d, dt.size())?, true, d));
        }
    }
    Ok(())
}
struct Out<'a> { b: &'a [u8], scal: usize, place: Vec<usize>, pay: Vec<(u64, bool, Vec<u64>)>, i: usize, live: bool, o: String }
pub fn decode(b: &[u8], schemas: &[Vec<u8>]) -> R<String> {
    let (sch, mut at, standing);
    let mut ext = vec![];
    if b.starts_with(&[0x8d, 0x53, 0x4d]) {
        standing = true;
        ensure!(b.len() >= 8, K::Format, "header of the sample");
        ensure!(b[3] == 1, K::Version, "version {} of a sample", b[3]);
        let n = u32a(b, 4);
        ensure!(n <= MAX_SCHEMA as u64 && 8 + n <= b.len() as u64, K::Format, "length of the schema");
        sch = schema(&b[8..8 + n as usize])?;
        at = align(8 + n, 8);
        ensure!(at + 8 * (sch.extents + sch.scalars) <= b.len() as u64, K::Format, "no room for extents and scalars");
        for i in 0..sch.extents { ext.push(u64a(b, (at + 8 * i) as usize)); }
        at += 8 * sch.extents;
    } else {
        standing = false;
        ensure!(b.len() >= 4, K::Format, "bound sample too short");
        let no = u32a(b, b.len() - 4) as usize;
        ensure!(no < schemas.len(), K::Format, "the segment has no schema {}", no);
        sch = schema(&schemas[no])?;
        at = 0;
        ensure!(4 + 4 * sch.extents + 8 * sch.scalars <= b.len() as u64, K::Format, "no room for extents and scalars");
        let e = b.len() - 4 - 4 * sch.extents as usize;
        for i in 0..sch.extents as usize { ext.push(u32a(b, e + 4 * i)); }
    }
    let mut pay = vec![];
    payloads(&sch.root, &mut ext.iter(), &mut pay)?;
    let mut place = vec![0u64; pay.len()];
    let len = b.len() as u64;
    let scal;
    let step = |at: &mut u64, n: u64, al: u64| -> R<u64> {
        let p = align(*at, al);
        // nothing lies beyond the record: also no sum overflows
        if p > len || n > len - p { return bad("payload beyond the end of the sample"); }
        *at = p + n;
        Ok(p)
    };
    if standing {
        scal = at;
        at += 8 * sch.scalars;
        for (i, (n, arr, _)) in pay.iter().enumerate() { place[i] = step(&mut at, *n, if !arr { 1 } else if *n >= 64 { 64 } else { 8 })?; }
        ensure!(at == len, K::Format, "length of the sample");
    } else {
        for (i, (n, arr, _)) in pay.iter().enumerate() { if *arr && *n >= 64 { place[i] = step(&mut at, *n, 64)?; } }
        scal = if sch.scalars > 0 { step(&mut at, 8 * sch.scalars, 8)? } else { at };
        for (i, (n, arr, _)) in pay.iter().enumerate() { if *arr && *n < 64 { place[i] = step(&mut at, *n, 8)?; } }
        for (i, (n, arr, _)) in pay.iter().enumerate() { if !*arr { place[i] = step(&mut at, *n, 1)?; } }
        ensure!(at + 4 * sch.extents + 4 == len, K::Format, "length of the sample");
    }
    let mut o = Out { b, scal: scal as usize, place: place.iter().map(|x| *x as usize).collect(), pay, i: 0, live: true, o: String::new() };
    o.value(&sch.root)?;
    Ok(o.o)
}
fn half(h: u16) -> f64 {
    let (s, e, m) = (if h >> 15 == 1 { -1.0 } else { 1.0 }, (h >> 10 & 31) as i32, (h & 1023) as f64);
    s * match e { 0 => m * 2f64.powi(-24), 31 => if m == 0.0 { f64::INFINITY } else { f64::NAN }, _ => (1.0 + m / 1024.0) * 2f64.powi(e - 15) }
}
impl<'a> Out<'a> {
    fn put(&mut self, s: &str) { if self.live { self.o.push_str(s); } }
    fn scalar(&mut self) -> u64 { let v = u64a(self.b, self.scal); self.scal += 8; v }
    fn payload(&mut self) -> (&'a [u8], Vec<u64>) {
        let (p, (n, _, d)) = (self.place[self.i], &self.pay[self.i]);
        let d = d.clone();
        self.i += 1;
        (&self.b[p..p + *n as usize], d)
    }
    fn ok(&self, c: bool, m: &str) -> R<()> { if c || !self.live { Ok(()) } else { bad(m) } }
    fn value(&mut self, n: &Node) -> R<()> {
        match n {
            Node::Plain(k) => match k {
                0 => self.put("None"),
                1 => { let v = self.scalar(); self.ok(v <= 1, "boolean")?; self.put(if v == 1 { "True" } else { "False" }); }
                2 => { let v = self.scalar() as i64; self.put(&v.to_string()); }
                4 => { let v = f64::from_bits(self.scalar()); self.put(&format!("{:?}", v)); }
                3 => { let (b, _) = self.payload(); let neg = b.last().map_or(false, |x| x & 128 != 0);
                       let h: String = b.iter().rev().map(|x| format!("{:02x}", x)).collect();
                       self.put(&format!("bigint({}0x{})", if neg { "two's complement " } else { "" }, h)); }
                5 => { let (b, _) = self.payload(); if self.live { let t = text(b)?; self.put(&format!("{:?}", t)); } }
                6 => { let (b, _) = self.payload(); self.put(&format!("bytes({:?})", b)); }
                7 => { let v = self.scalar() as i64; self.ok((1..=3652059).contains(&v), "date")?; self.put(&format!("date({})", v)); }
                8 => { let (d, u) = (self.scalar() as i64, self.scalar() as i64);
                       self.ok(d.unsigned_abs() <= 999999999 && (0..=86399999999).contains(&u), "timedelta")?; self.put(&format!("timedelta({}, {})", d, u)); }
                9..=11 => {
                    let (w, f) = (self.scalar() as i64, self.scalar());
                    self.ok((0..=315537897599999999).contains(&w), "wall")?; self.ok(f <= 1, "fold")?;
                    let mut t = format!("datetime({}, fold={}", w, f);
                    if *k > 9 {
                        let o = self.scalar() as i64; let (b, _) = self.payload();
                        self.ok(o.unsigned_abs() <= 86399999999, "offset")?;
                        if self.live {
                            let z = if *k == 10 { text(b)? } else {
                                let c = |x: &u8| x.is_ascii_alphanumeric() || b"_+-/".contains(x);
                                ensure!((1..=255).contains(&b.len()) && b.iter().all(c) && b.split(|x| *x == b'/').all(|p| !p.is_empty()), K::Format, "time zone");
                                String::from_utf8_lossy(b).into_owned()
                            };
                            t += &format!(", offset={}, {:?}", o, z);
                        }
                    }
                    self.put(&(t + ")"));
                }
                21 => { let (b, _) = self.payload(); let t: Vec<String> = b.chunks(8).map(|c| (u64a(c, 0) as i64).to_string()).collect(); self.put(&format!("[{}]", t.join(", "))); }
                _ => { let (b, _) = self.payload(); let t: Vec<String> = b.chunks(8).map(|c| format!("{:?}", f64::from_bits(u64a(c, 0)))).collect(); self.put(&format!("[{}]", t.join(", "))); }
            },
            Node::Seq(k, name, parts) => {
                let (a, z) = match k { 16 => ("[", "]"), 18 => ("{", "}"), _ => ("(", ")") };
                self.put(name); self.put(a);
                for (i, (key, x)) in parts.iter().enumerate() {
                    if i > 0 { self.put(", "); }
                    if *k >= 18 { self.put(key); self.put(if *k == 18 { ": " } else { "=" }); }
                    self.value(x)?;
                }
                self.put(z);
            }
            Node::Optional(x) => {
                let m = self.scalar();
                self.ok(m <= 1, "mark of an optional part")?;
                let live = self.live;
                if m == 0 { self.put("None"); self.live = false; }
                self.value(x)?;
                self.live = live;
            }
            Node::Array { kind, dt, .. } => {
                let (b, d) = self.payload();
                if self.live {
                    let mut t = String::new();
                    let size = dt.size() as usize;
                    for (i, c) in b.chunks(size).enumerate() { if i > 0 { t += " "; } element(dt, c, &mut t)?; }
                    self.put(&format!("{}({:?}, [{}])", match kind { 33 => "scalar", 34 | 36 => "tensor", _ => "array" }, d, t));
                }
            }
        }
        Ok(())
    }
}
fn element(dt: &Dt, b: &[u8], o: &mut String) -> R<()> {
    match dt {
        Dt::Struct { fields, .. } => {
            o.push('{');
            for (name, off, dims, t) in fields {
                *o += &format!("{}:", name);
                let n: u64 = dims.iter().product();
                for i in 0..n { let a = (off + i * t.size()) as usize; o.push(' '); element(t, &b[a..a + t.size() as usize], o)?; }
                o.push(';');
            }
            o.push('}');
        }
        Dt::Name { kind, big, size, .. } => {
            let le = |b: &[u8]| -> u64 { let mut v = 0; for (i, x) in b.iter().enumerate() { v |= (*x as u64) << (8 * if *big { b.len() - 1 - i } else { i }); } v };
            let fl = |b: &[u8]| -> f64 { match b.len() { 2 => half(le(b) as u16), 4 => f32::from_bits(le(b) as u32) as f64, _ => f64::from_bits(le(b)) } };
            *o += &match kind {
                b'b' => (b[0] != 0).to_string(),
                b'u' | b'F' => le(b).to_string(),
                b'B' => f32::from_bits((le(b) as u32) << 16).to_string(),
                b'i' | b'm' | b'M' => ((le(b) << (64 - 8 * size)) as i64 >> (64 - 8 * size)).to_string(),
                b'f' => format!("{:?}", fl(b)),
                b'c' => format!("{:?}+{:?}j", fl(&b[..b.len() / 2]), fl(&b[b.len() / 2..])),
                b'S' => { let n = b.iter().rposition(|x| *x != 0).map_or(0, |x| x + 1); format!("{:?}", &b[..n]) }
                b'U' => {
                    let mut t = String::new();
                    for c in b.chunks(4) { let v = le(c) as u32; ensure!(v <= 0x10ffff, K::Format, "code point above 10FFFF"); t.push(char::from_u32(v).unwrap_or('\u{fffd}')); }
                    format!("{:?}", t.trim_end_matches('\0'))
                }
                _ => format!("{:?}", b),
            };
        }
    }
    Ok(())
}
pub fn sample(d: &mut Dataset, p: u64) -> R<String> {
    let b = d.read(p)?;
    let (si, _) = d.locate(p);
    let s: Vec<Vec<u8>> = d.segs[si].schemas.clone().unwrap_or_default().iter().map(|i| d.schemas[*i].clone()).collect();
    decode(&b, &s)
}
/// section 8, end; FORMAT.md section 16.12
pub fn verify(d: &mut Dataset, si: usize, out: &mut Vec<String>) {
    let places = d.segs[si].schemas.clone().unwrap_or_default();
    if !places.is_empty() {
        match d.path(si).and_then(|p| open_regular(&p.join("schemas"))) {
            Err(e) => out.push(format!("schemas: {:?}", e)),
            Ok(None) => out.push("no file schemas".into()),
            Ok(Some(fh)) => {
                let h = fh.read(0, 64.min(fh.size)).unwrap();
                match check_header(&h, b'T', 64, 32) {
                    Ok(true) if h[16..32] == d.segs[si].idb => {}
                    r => out.push(format!("header of schemas: {:?}", r)),
                }
                let mut at = 64;
                for (i, pl) in places.iter().enumerate() {
                    let s = &d.schemas[*pl];
                    let n = s.len() as u64;
                    let ok = fh.read(at, align(16 + n, 8)).map_or(false, |b| u32a(&b, 0) == n && u32a(&b, 4) == 0 && u64a(&b, 8) == xxh(s) && b[16..16 + s.len()] == s[..] && b[16 + s.len()..].iter().all(|x| *x == 0));
                    if !ok { out.push(format!("schemas: number {}", i)); break; }
                    at += align(16 + n, 8);
                }
            }
        }
    }
    if d.metadata.get("record_codec").and_then(|v| v.str()) != Some(b"sample") { return; }
    for p in d.segs[si].first..d.segs[si].first + d.segs[si].records {
        let b = match d.read(p) { Ok(b) => b, Err(_) => continue };
        if b.len() as u64 >= LARGE { continue; }
        let s: Vec<Vec<u8>> = places.iter().map(|i| d.schemas[*i].clone()).collect();
        if let Err(e) = decode(&b, &s) { out.push(format!("sample {}: {:?}", p, e)); }
    }
}
