//! xxh3-64 and zstd by FFI (only the runtime libraries are on this machine), SHA-256 by hand.
use std::os::raw::{c_int, c_void};
extern "C" {
    fn XXH3_64bits_withSeed(p: *const c_void, n: usize, seed: u64) -> u64;
    fn ZSTD_createDCtx() -> *mut c_void;
    fn ZSTD_freeDCtx(d: *mut c_void) -> usize;
    fn ZSTD_decompressDCtx(d: *mut c_void, dst: *mut c_void, cap: usize, src: *const c_void, n: usize) -> usize;
    fn ZSTD_createDDict(p: *const c_void, n: usize) -> *mut c_void;
    fn ZSTD_freeDDict(d: *mut c_void) -> usize;
    fn ZSTD_decompress_usingDDict(d: *mut c_void, dst: *mut c_void, cap: usize, src: *const c_void, n: usize, dd: *const c_void) -> usize;
    fn ZSTD_isError(c: usize) -> c_int;
    fn ZSTD_findFrameCompressedSize(src: *const c_void, n: usize) -> usize;
}
pub fn xxh(b: &[u8]) -> u64 { xxh_seed(b, 0) }
pub fn xxh_seed(b: &[u8], seed: u64) -> u64 { unsafe { XXH3_64bits_withSeed(b.as_ptr() as *const c_void, b.len(), seed) } }

pub struct DDict { p: *mut c_void, _keep: Vec<u8>, pub id: u32 }
impl DDict {
    /// FORMAT.md section 10: with the magic it must be a formatted one, else it is raw content with id 0.
    pub fn new(b: Vec<u8>) -> Option<DDict> {
        let mut id = 0;
        if b.starts_with(&[0x37, 0xa4, 0x30, 0xec]) {
            if b.len() < 8 { return None; }
            id = u32::from_le_bytes(b[4..8].try_into().unwrap());
        }
        let p = unsafe { ZSTD_createDDict(b.as_ptr() as *const c_void, b.len()) };
        if p.is_null() { return None; }
        Some(DDict { p, _keep: b, id })
    }
}
impl Drop for DDict { fn drop(&mut self) { unsafe { ZSTD_freeDDict(self.p); } } }

pub struct ZHeader { pub content: u64, pub window: u64, pub dict_id: u32 }
pub fn zstd_header(b: &[u8]) -> Option<ZHeader> {
    if b.len() < 5 || b[..4] != [0x28, 0xb5, 0x2f, 0xfd] { return None; }
    let d = b[4];
    if d & 8 != 0 { return None; }
    let single = d & 0x20 != 0;
    let mut i = 5;
    let mut window = 0u64;
    if !single {
        let w = *b.get(i)?; i += 1;
        let base = 1u64 << (10 + (w >> 3));
        window = base + (base / 8) * (w & 7) as u64;
    }
    let dl = [0, 1, 2, 4][(d & 3) as usize];
    let mut dict_id = 0u32;
    for k in 0..dl { dict_id |= (*b.get(i + k)? as u32) << (8 * k); }
    i += dl;
    let fl = match d >> 6 { 0 => if single { 1 } else { return None }, 1 => 2, 2 => 4, _ => 8 };
    let mut content = 0u64;
    for k in 0..fl { content |= (*b.get(i + k)? as u64) << (8 * k); }
    if fl == 2 { content += 256; }
    if single { window = content; }
    Some(ZHeader { content, window, dict_id })
}
pub fn zstd_decompress(b: &[u8], raw: usize, dict: Option<&DDict>) -> Option<Vec<u8>> {
    unsafe {
        let n = ZSTD_findFrameCompressedSize(b.as_ptr() as *const c_void, b.len());
        if ZSTD_isError(n) != 0 || n != b.len() { return None; }
        let mut out = vec![0u8; raw];
        let d = ZSTD_createDCtx();
        let r = match dict {
            Some(dd) => ZSTD_decompress_usingDDict(d, out.as_mut_ptr() as *mut c_void, raw, b.as_ptr() as *const c_void, b.len(), dd.p),
            None => ZSTD_decompressDCtx(d, out.as_mut_ptr() as *mut c_void, raw, b.as_ptr() as *const c_void, b.len()),
        };
        ZSTD_freeDCtx(d);
        if ZSTD_isError(r) != 0 || r != raw { return None; }
        Some(out)
    }
}

pub struct Sha256 { h: [u32; 8], buf: Vec<u8>, n: u64 }
const K: [u32; 64] = [
0x428a2f98,0x71374491,0xb5c0fbcf,0xe9b5dba5,0x3956c25b,0x59f111f1,0x923f82a4,0xab1c5ed5,0xd807aa98,0x12835b01,0x243185be,0x550c7dc3,0x72be5d74,0x80deb1fe,0x9bdc06a7,0xc19bf174,
0xe49b69c1,0xefbe4786,0x0fc19dc6,0x240ca1cc,0x2de92c6f,0x4a7484aa,0x5cb0a9dc,0x76f988da,0x983e5152,0xa831c66d,0xb00327c8,0xbf597fc7,0xc6e00bf3,0xd5a79147,0x06ca6351,0x14292967,
0x27b70a85,0x2e1b2138,0x4d2c6dfc,0x53380d13,0x650a7354,0x766a0abb,0x81c2c92e,0x92722c85,0xa2bfe8a1,0xa81a664b,0xc24b8b70,0xc76c51a3,0xd192e819,0xd6990624,0xf40e3585,0x106aa070,
0x19a4c116,0x1e376c08,0x2748774c,0x34b0bcb5,0x391c0cb3,0x4ed8aa4a,0x5b9cca4f,0x682e6ff3,0x748f82ee,0x78a5636f,0x84c87814,0x8cc70208,0x90befffa,0xa4506ceb,0xbef9a3f7,0xc67178f2];
impl Sha256 {
    pub fn new() -> Self { Sha256 { h: [0x6a09e667,0xbb67ae85,0x3c6ef372,0xa54ff53a,0x510e527f,0x9b05688c,0x1f83d9ab,0x5be0cd19], buf: vec![], n: 0 } }
    fn block(&mut self, b: &[u8]) {
        let mut w = [0u32; 64];
        for i in 0..16 { w[i] = u32::from_be_bytes(b[4*i..4*i+4].try_into().unwrap()); }
        for i in 16..64 {
            let s0 = w[i-15].rotate_right(7) ^ w[i-15].rotate_right(18) ^ (w[i-15] >> 3);
            let s1 = w[i-2].rotate_right(17) ^ w[i-2].rotate_right(19) ^ (w[i-2] >> 10);
            w[i] = w[i-16].wrapping_add(s0).wrapping_add(w[i-7]).wrapping_add(s1);
        }
        let mut v = self.h;
        for i in 0..64 {
            let s1 = v[4].rotate_right(6) ^ v[4].rotate_right(11) ^ v[4].rotate_right(25);
            let ch = (v[4] & v[5]) ^ (!v[4] & v[6]);
            let t1 = v[7].wrapping_add(s1).wrapping_add(ch).wrapping_add(K[i]).wrapping_add(w[i]);
            let s0 = v[0].rotate_right(2) ^ v[0].rotate_right(13) ^ v[0].rotate_right(22);
            let t2 = s0.wrapping_add((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
            v = [t1.wrapping_add(t2), v[0], v[1], v[2], v[3].wrapping_add(t1), v[4], v[5], v[6]];
        }
        for i in 0..8 { self.h[i] = self.h[i].wrapping_add(v[i]); }
    }
    pub fn update(&mut self, mut b: &[u8]) {
        self.n += b.len() as u64;
        if !self.buf.is_empty() {
            let k = (64 - self.buf.len()).min(b.len());
            self.buf.extend_from_slice(&b[..k]); b = &b[k..];
            if self.buf.len() == 64 { let t = std::mem::take(&mut self.buf); self.block(&t); }
        }
        while b.len() >= 64 { self.block(&b[..64]); b = &b[64..]; }
        if !b.is_empty() { self.buf.extend_from_slice(b); }
    }
    pub fn finish(mut self) -> [u8; 32] {
        let bits = self.n * 8;
        self.update(&[0x80]);
        while self.buf.len() != 56 { self.update(&[0]); }
        self.update(&bits.to_be_bytes());
        let mut o = [0u8; 32];
        for i in 0..8 { o[4*i..4*i+4].copy_from_slice(&self.h[i].to_be_bytes()); }
        o
    }
}
