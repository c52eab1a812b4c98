// Every way to wait that Rust's std has, each once; the holder lets go 20 ms after the waiter fell asleep.
// None of them goes through pthreads: they call libc's syscall(SYS_futex).
use std::fs;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::sync::mpsc;
use std::sync::{Arc, Barrier, Condvar, Mutex, Once, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

static SLEEPER: AtomicI32 = AtomicI32::new(0);
static N_WAITED: AtomicI32 = AtomicI32::new(0);
const LONG: Duration = Duration::from_secs(50);
// A time that passes before the wait begins leaves nothing to wait for: of many short waits that can befall a few.
const SHORT: Duration = Duration::from_millis(1);
const N_IN_VAIN: usize = 50;

extern "C" {
    fn gettid() -> i32;
}

fn about_to_wait() {
    SLEEPER.store(unsafe { gettid() }, SeqCst);
}

// From the moment on at which the waiter sleeps in the kernel, 20 ms.
fn work_while_it_sleeps() {
    loop {
        let tid = SLEEPER.load(SeqCst);
        if tid != 0 {
            let stat = fs::read_to_string(format!("/proc/self/task/{}/stat", tid)).unwrap();
            if stat.rsplit(')').next().unwrap().starts_with(" S") {
                break;
            }
        }
        thread::yield_now();
    }
    thread::sleep(Duration::from_millis(20));
}

fn start<T: Send + Sync + 'static>(shared: &Arc<T>, wait: extern "C" fn(&T)) -> JoinHandle<()> {
    SLEEPER.store(0, SeqCst);
    let shared = Arc::clone(shared);
    thread::spawn(move || wait(&shared))
}

macro_rules! scene {
    ($name:ident($arg:ident: $kind:ty) $body:block) => {
        #[no_mangle]
        #[inline(never)]
        #[allow(improper_ctypes_definitions)]
        pub extern "C" fn $name($arg: &$kind) {
            $body
            N_WAITED.fetch_add(1, SeqCst); // the wait is no tail call: its function stays on the stack
        }
    };
}

type Event = (Mutex<bool>, Condvar);

scene!(wait_mutex(m: Mutex<i32>) { about_to_wait(); *m.lock().unwrap() += 1; });
scene!(wait_to_write(l: RwLock<i32>) { about_to_wait(); *l.write().unwrap() += 1; });
scene!(wait_to_read(l: RwLock<i32>) { about_to_wait(); assert_eq!(*l.read().unwrap(), 2); });
scene!(wait_cond(e: Event) {
    let mut happened = e.0.lock().unwrap();
    about_to_wait();
    while !*happened { happened = e.1.wait(happened).unwrap(); }
});
scene!(wait_cond_for(e: Event) {
    let happened = e.0.lock().unwrap();
    about_to_wait();
    assert!(!e.1.wait_timeout_while(happened, LONG, |h| !*h).unwrap().1.timed_out());
});
scene!(wait_cond_in_vain(e: Event) {
    for _ in 0..N_IN_VAIN {
        let happened = e.0.lock().unwrap();
        assert!(e.1.wait_timeout_while(happened, SHORT, |h| !*h).unwrap().1.timed_out());
    }
});
scene!(wait_receive(r: Mutex<mpsc::Receiver<i32>>) {
    let receiver = r.lock().unwrap();
    about_to_wait();
    assert_eq!(receiver.recv(), Ok(7));
});
scene!(wait_to_send(s: Mutex<mpsc::SyncSender<i32>>) {
    let sender = s.lock().unwrap();
    sender.send(1).unwrap();
    about_to_wait();
    sender.send(2).unwrap();
});
scene!(wait_park(_n: i32) { about_to_wait(); thread::park(); });
scene!(wait_park_in_vain(_n: i32) {
    for _ in 0..N_IN_VAIN { thread::park_timeout(SHORT); }
});
scene!(wait_barrier(b: Barrier) { about_to_wait(); b.wait(); });
scene!(wait_once(o: Once) { about_to_wait(); o.call_once(|| unreachable!()); });

fn event(wait: extern "C" fn(&Event)) {
    let e = Arc::new((Mutex::new(false), Condvar::new()));
    let waiter = start(&e, wait);
    work_while_it_sleeps();
    *e.0.lock().unwrap() = true;
    e.1.notify_one();
    waiter.join().unwrap();
}

fn locks() {
    let m = Arc::new(Mutex::new(1));
    let held = m.lock().unwrap();
    let waiter = start(&m, wait_mutex);
    work_while_it_sleeps();
    drop(held);
    waiter.join().unwrap();
    println!("mutex {}", m.lock().unwrap());

    let l = Arc::new(RwLock::new(1));
    let held = l.read().unwrap();
    let waiter = start(&l, wait_to_write);
    work_while_it_sleeps();
    drop(held);
    waiter.join().unwrap();
    let held = l.write().unwrap();
    let waiter = start(&l, wait_to_read);
    work_while_it_sleeps();
    drop(held);
    waiter.join().unwrap();
    println!("rwlock {}", l.read().unwrap());
}

fn channels() {
    let (sender, receiver) = mpsc::channel();
    let waiter = start(&Arc::new(Mutex::new(receiver)), wait_receive);
    work_while_it_sleeps();
    sender.send(7).unwrap();
    waiter.join().unwrap();
    let (sender, receiver) = mpsc::sync_channel(1);
    let waiter = start(&Arc::new(Mutex::new(sender)), wait_to_send);
    work_while_it_sleeps();
    println!("received {} {}", receiver.recv().unwrap(), receiver.recv().unwrap());
    waiter.join().unwrap();
}

fn parking() {
    let waiter = start(&Arc::new(0), wait_park);
    work_while_it_sleeps();
    waiter.thread().unpark();
    waiter.join().unwrap();
    start(&Arc::new(0), wait_park_in_vain).join().unwrap();
    println!("parked");
}

fn others() {
    let b = Arc::new(Barrier::new(2));
    let waiter = start(&b, wait_barrier);
    work_while_it_sleeps();
    b.wait();
    waiter.join().unwrap();
    let once = Arc::new(Once::new());
    let mut waiter = None;
    once.call_once(|| {
        waiter = Some(start(&once, wait_once));
        work_while_it_sleeps();
    });
    waiter.unwrap().join().unwrap();
    println!("once {}", once.is_completed());
}

fn main() {
    locks();
    event(wait_cond);
    event(wait_cond_for);
    start(&Arc::new((Mutex::new(false), Condvar::new())), wait_cond_in_vain).join().unwrap();
    channels();
    parking();
    others();
    std::process::exit(4);
}
