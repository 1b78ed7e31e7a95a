mod hash; mod json; mod reader; mod conf; mod verify; mod sample; mod flip;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    match a.get(1).map(|s| s.as_str()) {
        Some("conf") => conf::run(&a[2], a.get(3).map(|s| s.as_str())),
        Some("show") => {
            let mut d = match reader::Dataset::open(std::path::Path::new(&a[2])) { Ok(d) => d, Err(e) => { println!("{}: {}", e.k.name(), e.m); return } };
            let sha = d.sha256();
            println!("{} records, generation {}, fingerprint {}, sha256 {:?}", d.total, d.generation, d.fingerprint(), sha);
            println!("metadata {}, schema {:?}", d.metadata.show(), d.schema);
            for p in 0..d.total.min(1000) {
                let s = if d.metadata.get("record_codec").map(|v| v.text()).as_deref() == Some("sample") { format!("{:?}", sample::sample(&mut d, p)) } else { String::new() };
                let (l, n, k) = (d.length(p), d.read(p).map(|b| b.len()), d.key(p).map(|k| k.map(|k| String::from_utf8_lossy(&k).into_owned())));
                println!("{}: length {:?}, {:?} bytes, key {:?} {:.1000}", p, l, n, k, s);
            }
            println!("findings: {:#?}", verify::verify(&mut d));
        }
        Some("sample") => { // sample FILE [SCHEMA...]
            let s: Vec<Vec<u8>> = a[3..].iter().map(|f| std::fs::read(f).unwrap()).collect();
            println!("{:?}", sample::decode(&std::fs::read(&a[2]).unwrap(), &s));
        }
        Some("find") => println!("{:?}", reader::Dataset::open(std::path::Path::new(&a[2])).unwrap().find(a[3].as_bytes())),
        Some("sums") => verify::sums(&mut reader::Dataset::open(std::path::Path::new(&a[2])).unwrap()),
        Some("flip") => flip::run(&a[2]),
        _ => println!("usage: sdread conf DIR [CASE] | show DATASET | sample FILE [SCHEMA...]"),
    }
}
