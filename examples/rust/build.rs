fn main() {
    // no -dev packages here: link the runtime libraries by their names
    println!("cargo:rustc-link-arg=/usr/lib/x86_64-linux-gnu/libzstd.so.1");
    println!("cargo:rustc-link-arg=/usr/lib/x86_64-linux-gnu/libxxhash.so.0");
}
