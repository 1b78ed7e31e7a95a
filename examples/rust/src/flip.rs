//! Every bit of every file of a dataset flipped: which flips does a verification not find, and which change an answer?
use crate::reader::*;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
fn files(d: &Path, o: &mut Vec<PathBuf>) { for e in std::fs::read_dir(d).unwrap().flatten() { if e.path().is_dir() { files(&e.path(), o) } else { o.push(e.path()) } } }
type A = Vec<Result<Vec<u8>, &'static str>>;
fn answers(d: &mut Dataset) -> (A, Vec<Result<Option<Vec<u8>>, &'static str>>) {
    ((0..d.total).map(|p| d.read(p).map_err(|e| e.k.name())).collect(), (0..d.total).map(|p| d.key(p).map_err(|e| e.k.name())).collect())
}
pub fn run(dir: &str) {
    let dir = Path::new(dir);
    let mut d = Dataset::open(dir).unwrap();
    let good = answers(&mut d);
    let top = format!("manifest.{:010}.json", d.generation);
    let mut fs = vec![]; files(dir, &mut fs); fs.sort();
    for f in fs {
        let name = f.strip_prefix(dir).unwrap().display().to_string();
        let b = std::fs::read(&f).unwrap();
        let h = std::fs::OpenOptions::new().write(true).open(&f).unwrap();
        let mut silent: BTreeMap<usize, u8> = BTreeMap::new();
        let (mut other, mut spread) = (vec![], 0);
        for i in 0..b.len() { for bit in 0..8u8 {
            h.write_all_at(&[b[i] ^ 1 << bit], i as u64).unwrap();
            match Dataset::open(dir) {
                Err(_) => {}
                Ok(mut d) => {
                    let a = answers(&mut d);
                    let wrong = a.0.iter().zip(&good.0).any(|(x, y)| x.is_ok() && x != y) || a.1.iter().zip(&good.1).any(|(x, y)| x.is_ok() && x != y);
                    if wrong { other.push((i, bit)); }
                    if a.0.iter().zip(&good.0).filter(|(x, y)| x != y).count() > 1 { spread += 1; }
                    if crate::verify::verify(&mut d).is_empty() { *silent.entry(i).or_default() |= 1 << bit; }
                }
            }
        }
        h.write_all_at(&b[i..i + 1], i as u64).unwrap(); }
        let mut r: Vec<(usize, usize)> = vec![];
        for (i, _) in &silent { match r.last_mut() { Some(x) if x.1 == *i => x.1 = i + 1, _ => r.push((*i, i + 1)) } }
        println!("{}{}: {} bytes; silent {:?}; wrong bytes returned {:?}; flips that cost more than one record {}", name, if name == top { " (current)" } else { "" }, b.len(), r, other.iter().take(10).collect::<Vec<_>>(), spread);
    }
}
