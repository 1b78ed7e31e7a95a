//! JSON, strict RFC 8259 with the restrictions of FORMAT.md section 5. Texts are WTF-8 bytes.
use std::collections::HashSet;
#[derive(Clone, Debug)]
pub enum V { Null, Bool(bool), Int(i64, usize), Float(f64, usize), Str(Vec<u8>), Arr(Vec<V>), Obj(Vec<(Vec<u8>, V)>) }
pub const MAX_NEST: usize = 1000;
struct P<'a> { b: &'a [u8], i: usize }
pub fn parse(b: &[u8]) -> Result<V, String> {
    if std::str::from_utf8(b).is_err() { return Err("not UTF-8".into()); }
    let mut p = P { b, i: 0 };
    p.ws();
    let v = p.value(1)?;
    p.ws();
    if p.i != b.len() { return Err("bytes behind the value".into()); }
    Ok(v)
}
impl<'a> P<'a> {
    fn ws(&mut self) { while let Some(c) = self.b.get(self.i) { if matches!(c, b' ' | b'\t' | b'\n' | b'\r') { self.i += 1 } else { break } } }
    fn peek(&self) -> u8 { *self.b.get(self.i).unwrap_or(&0) }
    fn lit(&mut self, s: &str, v: V) -> Result<V, String> {
        if self.b[self.i..].starts_with(s.as_bytes()) { self.i += s.len(); Ok(v) } else { Err("bad literal".into()) }
    }
    fn value(&mut self, depth: usize) -> Result<V, String> {
        if depth > MAX_NEST { return Err("nested too deep".into()); }
        match self.peek() {
            b'{' => {
                self.i += 1; let mut o = vec![]; let mut seen = HashSet::new();
                self.ws();
                if self.peek() == b'}' { self.i += 1; return Ok(V::Obj(o)); }
                loop {
                    self.ws();
                    if self.peek() != b'"' { return Err("key expected".into()); }
                    let k = self.string()?;
                    if !seen.insert(k.clone()) { return Err("key twice".into()); }
                    self.ws();
                    if self.peek() != b':' { return Err(": expected".into()); }
                    self.i += 1; self.ws();
                    let v = self.value(depth + 1)?;
                    o.push((k, v));
                    self.ws();
                    match self.peek() { b',' => self.i += 1, b'}' => { self.i += 1; return Ok(V::Obj(o)); } _ => return Err(", or } expected".into()) }
                }
            }
            b'[' => {
                self.i += 1; let mut a = vec![];
                self.ws();
                if self.peek() == b']' { self.i += 1; return Ok(V::Arr(a)); }
                loop {
                    self.ws();
                    a.push(self.value(depth + 1)?);
                    self.ws();
                    match self.peek() { b',' => self.i += 1, b']' => { self.i += 1; return Ok(V::Arr(a)); } _ => return Err(", or ] expected".into()) }
                }
            }
            b'"' => Ok(V::Str(self.string()?)),
            b't' => self.lit("true", V::Bool(true)),
            b'f' => self.lit("false", V::Bool(false)),
            b'n' => self.lit("null", V::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err("value expected".into()),
        }
    }
    fn number(&mut self) -> Result<V, String> {
        let s = self.i;
        if self.peek() == b'-' { self.i += 1; }
        match self.peek() {
            b'0' => self.i += 1,
            b'1'..=b'9' => while self.peek().is_ascii_digit() { self.i += 1 },
            _ => return Err("bad number".into()),
        }
        let mut int = true;
        if self.peek() == b'.' {
            int = false; self.i += 1;
            if !self.peek().is_ascii_digit() { return Err("bad number".into()); }
            while self.peek().is_ascii_digit() { self.i += 1 }
        }
        if matches!(self.peek(), b'e' | b'E') {
            int = false; self.i += 1;
            if matches!(self.peek(), b'+' | b'-') { self.i += 1; }
            if !self.peek().is_ascii_digit() { return Err("bad number".into()); }
            while self.peek().is_ascii_digit() { self.i += 1 }
        }
        let t = std::str::from_utf8(&self.b[s..self.i]).unwrap();
        if int {
            match t.parse::<i64>() { Ok(v) if v != i64::MIN => Ok(V::Int(v, t.len())), _ => Err("integer out of range".into()) }
        } else {
            match t.parse::<f64>() { Ok(v) if v.is_finite() => Ok(V::Float(v, t.len())), _ => Err("number out of range".into()) }
        }
    }
    fn hex4(&mut self) -> Result<u32, String> {
        let h = self.b.get(self.i..self.i + 4).ok_or("bad escape")?;
        let mut v = 0;
        for c in h { v = v * 16 + (*c as char).to_digit(16).ok_or("bad escape")?; }
        self.i += 4;
        Ok(v)
    }
    fn string(&mut self) -> Result<Vec<u8>, String> {
        self.i += 1;
        let mut o = vec![];
        loop {
            let c = *self.b.get(self.i).ok_or("text without end")?;
            self.i += 1;
            match c {
                b'"' => return Ok(o),
                0..=31 => return Err("control character in a text".into()),
                b'\\' => {
                    let e = *self.b.get(self.i).ok_or("text without end")?;
                    self.i += 1;
                    match e {
                        b'"' | b'\\' | b'/' => o.push(e),
                        b'b' => o.push(8), b'f' => o.push(12), b'n' => o.push(10), b'r' => o.push(13), b't' => o.push(9),
                        b'u' => {
                            let mut v = self.hex4()?;
                            if (0xd800..0xdc00).contains(&v) && self.b[self.i..].starts_with(b"\\u") {
                                let save = self.i; self.i += 2;
                                let w = self.hex4()?;
                                if (0xdc00..0xe000).contains(&w) { v = 0x10000 + ((v - 0xd800) << 10) + (w - 0xdc00); } else { self.i = save; }
                            }
                            push_cp(&mut o, v);
                        }
                        _ => return Err("bad escape".into()),
                    }
                }
                _ => o.push(c),
            }
        }
    }
}
pub fn push_cp(o: &mut Vec<u8>, v: u32) {
    if v < 0x80 { o.push(v as u8) }
    else if v < 0x800 { o.push(0xc0 | (v >> 6) as u8); o.push(0x80 | (v & 63) as u8) }
    else if v < 0x10000 { o.push(0xe0 | (v >> 12) as u8); o.push(0x80 | (v >> 6 & 63) as u8); o.push(0x80 | (v & 63) as u8) }
    else { o.push(0xf0 | (v >> 18) as u8); o.push(0x80 | (v >> 12 & 63) as u8); o.push(0x80 | (v >> 6 & 63) as u8); o.push(0x80 | (v & 63) as u8) }
}
impl V {
    pub fn get(&self, k: &str) -> Option<&V> { if let V::Obj(o) = self { o.iter().find(|x| x.0 == k.as_bytes()).map(|x| &x.1) } else { None } }
    pub fn int(&self) -> Option<i64> { if let V::Int(i, _) = self { Some(*i) } else { None } }
    pub fn str(&self) -> Option<&[u8]> { if let V::Str(s) = self { Some(s) } else { None } }
    pub fn arr(&self) -> Option<&[V]> { if let V::Arr(s) = self { Some(s) } else { None } }
    pub fn text(&self) -> String { String::from_utf8_lossy(self.str().unwrap_or(b"")).into_owned() }
    /// objects and arrays in each other
    pub fn depth(&self) -> usize {
        match self {
            V::Arr(a) => 1 + a.iter().map(|x| x.depth()).max().unwrap_or(0),
            V::Obj(a) => 1 + a.iter().map(|x| x.1.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }
    /// length as MAX_METADATA_BYTES counts it
    pub fn size(&self) -> usize {
        fn s(t: &[u8]) -> usize {
            let mut n = 2; let mut i = 0;
            while i < t.len() {
                let c = t[i];
                n += match c { b'"' | b'\\' | 8 | 9 | 10 | 12 | 13 => 2, 0..=31 => 6,
                    0xed if t.get(i + 1).map_or(false, |x| *x >= 0xa0) => { i += 2; 6 } _ => 1 };
                i += 1;
            }
            n
        }
        match self {
            V::Null => 4, V::Bool(b) => if *b { 4 } else { 5 },
            V::Int(_, n) | V::Float(_, n) => *n,
            V::Str(t) => s(t),
            V::Arr(a) => 2 + a.iter().map(|x| x.size()).sum::<usize>() + a.len().saturating_sub(1),
            V::Obj(a) => 2 + a.iter().map(|x| s(&x.0) + 1 + x.1.size()).sum::<usize>() + a.len().saturating_sub(1),
        }
    }
    pub fn show(&self) -> String {
        match self {
            V::Null => "null".into(), V::Bool(b) => b.to_string(), V::Int(i, _) => i.to_string(), V::Float(f, _) => format!("{:?}", f),
            V::Str(s) => format!("{:?}", String::from_utf8_lossy(s)),
            V::Arr(a) => format!("[{}]", a.iter().map(|x| x.show()).collect::<Vec<_>>().join(",")),
            V::Obj(a) => format!("{{{}}}", a.iter().map(|x| format!("{:?}:{}", String::from_utf8_lossy(&x.0), x.1.show())).collect::<Vec<_>>().join(",")),
        }
    }
}
