import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.*;

/** Monitors, wait and notify, locks, park, pools, sleeping, garbage: the same sums in every run. */
public class Waits {
    static final Object monitor = new Object();
    static long sum;

    static void monitors() throws Exception {
        Thread[] threads = new Thread[4];
        for (int t = 0; t < threads.length; t++) {
            threads[t] = new Thread(() -> {
                for (int i = 0; i < 300; i++)
                    synchronized (monitor) {
                        byte[] garbage = new byte[4000];
                        garbage[i] = 1;
                        sum += garbage[i];
                    }
            }, "monitor-" + t);
            threads[t].start();
        }
        for (Thread thread : threads)
            thread.join();
        System.out.println("monitors " + sum);
    }

    /** A thread is called blocked before it waits: of ten times, some find it waiting. */
    static void heldMonitor() throws Exception {
        for (int i = 0; i < 10; i++)
            holdMonitor();
        System.out.println("held " + sum);
    }

    static void holdMonitor() throws Exception {
        Thread waiter = new Thread(() -> {
            synchronized (monitor) {
                sum++;
            }
        }, "waiter");
        synchronized (monitor) {
            waiter.start();
            while (waiter.getState() != Thread.State.BLOCKED)
                Thread.yield();
            Thread.sleep(20);
        }
        waiter.join();
    }

    static void locks() throws Exception {
        ReentrantReadWriteLock lock = new ReentrantReadWriteLock();
        ExecutorService pool = Executors.newFixedThreadPool(3);
        AtomicLong reads = new AtomicLong();
        CountDownLatch done = new CountDownLatch(3);
        for (int t = 0; t < 3; t++)
            pool.execute(() -> {
                for (int i = 0; i < 200; i++) {
                    Lock side = i % 10 == 0 ? lock.writeLock() : lock.readLock();
                    side.lock();
                    reads.incrementAndGet();
                    side.unlock();
                }
                done.countDown();
            });
        done.await();
        pool.shutdown();
        System.out.println("locks " + reads + " " + pool.awaitTermination(50, TimeUnit.SECONDS));
    }

    static void queues() throws Exception {
        SynchronousQueue<Integer> queue = new SynchronousQueue<>();
        Thread producer = new Thread(() -> {
            try {
                for (int i = 0; i < 100; i++)
                    queue.put(i);
            } catch (InterruptedException e) {
                System.out.println(e);
            }
        });
        producer.start();
        long total = 0;
        for (int i = 0; i < 100; i++)
            total += queue.take();
        producer.join();
        System.out.println("queue " + total);
    }

    public static void main(String[] args) throws Exception {
        monitors();
        heldMonitor();
        locks();
        queues();
        System.gc();
        System.exit(6);
    }
}
