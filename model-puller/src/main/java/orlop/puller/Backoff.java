package orlop.puller;

import java.util.concurrent.atomic.LongAdder;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;

/**
 * How often and after what wait something is tried again: exponential, from half to all of the wait
 * by chance, so that many pods that fail together do not return together. Thread-safe if its random
 * generator is.
 *
 * @param attempts tries in all
 * @param firstMs wait before the second try; doubles, up to a hundredfold
 * @param retries counts
 */
record Backoff(int attempts, long firstMs, RandomGenerator random, LongAdder retries) {

  interface Try<T extends @Nullable Object> {
    T run() throws PullException, InterruptedException;
  }

  /** Runs until it succeeds, fails for good, or {@code attempts} are used up. */
  <T extends @Nullable Object> T retry(int attempts, Try<T> step)
      throws PullException, InterruptedException {
    for (int attempt = 1; ; attempt++) {
      try {
        return step.run();
      } catch (PullException e) {
        if (!e.worthAnotherTry() || attempt >= attempts) {
          throw e;
        }
        pause(attempt);
      }
    }
  }

  /** Waits after the given try, counted from 1. */
  void pause(int attempt) throws InterruptedException {
    retries.increment();
    long whole = Math.min(firstMs << Math.min(attempt - 1, 7), firstMs * 100);
    Thread.sleep(whole / 2 + random.nextLong(whole / 2 + 1));
  }
}
