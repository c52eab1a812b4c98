// Threads, strings, a map, and a panic that is caught.
use std::collections::HashMap;
use std::thread;

#[no_mangle]
#[inline(never)]
pub extern "C" fn rust_keeps(n: usize) -> Vec<Vec<u8>> {
    (0..n).map(|i| vec![i as u8; 1000]).collect()
}

fn main() {
    let kept = rust_keeps(200);
    let threads: Vec<_> = (0..4)
        .map(|t| {
            thread::spawn(move || {
                let mut words: HashMap<String, usize> = HashMap::new();
                for i in 0..5000 {
                    *words.entry(format!("word {}", i * (t + 1) % 257)).or_insert(0) += 1;
                }
                words.len()
            })
        })
        .collect();
    let lengths: Vec<usize> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    println!("{:?} {}", lengths, kept.iter().map(|v| v.len()).sum::<usize>());
    std::panic::set_hook(Box::new(|_| eprintln!("a panic")));
    let caught = std::panic::catch_unwind(|| panic!("on purpose"));
    println!("{}", caught.is_err());
    std::mem::forget(kept);
    std::process::exit(6);
}
