package orlop.bench;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * Keeps a number of calls under way, each a new one when the last has ended, on the transport's own
 * threads.
 */
final class LoadGenerator {
  private static final int MAX_SAMPLES = 1 << 20;

  /**
   * One kind of call.
   *
   * @param messages the encoded requests to choose from, by channel
   */
  record Case(String name, int inFlight, List<ManagedChannel> channels, byte[][][] messages) {}

  /** What one window showed; latencies in microseconds. */
  record Window(double perSecond, double p50, double p99, long calls) {}

  private final Case what;
  private final AtomicLong calls = new AtomicLong();
  private final AtomicReference<@Nullable Status> failure = new AtomicReference<>();
  private final int[] samples = new int[MAX_SAMPLES];
  private final long endNs;
  private final CountDownLatch running;

  private LoadGenerator(Case what, long endNs) {
    this.what = what;
    this.endNs = endNs;
    this.running = new CountDownLatch(what.inFlight);
  }

  /** Runs for that long and returns what it saw. */
  static Window run(Case what, long ms) throws InterruptedException {
    long startNs = System.nanoTime();
    LoadGenerator generator = new LoadGenerator(what, startNs + TimeUnit.MILLISECONDS.toNanos(ms));
    for (int i = 0; i < what.inFlight; i++) {
      generator.next();
    }
    if (!generator.running.await(ms + 60_000, TimeUnit.MILLISECONDS)) {
      throw new IllegalStateException(what.name + ": calls did not end");
    }
    Status failed = generator.failure.get();
    if (failed != null) {
      throw new IllegalStateException(what.name + ": " + failed);
    }
    return generator.window(System.nanoTime() - startNs);
  }

  private Window window(long tookNs) {
    long count = calls.get();
    int[] sorted = Arrays.copyOf(samples, (int) Math.min(count, MAX_SAMPLES));
    Arrays.sort(sorted);
    return new Window(
        count * 1e9 / tookNs,
        sorted[sorted.length / 2] / 1e3,
        sorted[(int) (sorted.length * 0.99)] / 1e3,
        count);
  }

  private void next() {
    long nowNs = System.nanoTime();
    if (nowNs >= endNs || failure.get() != null) {
      running.countDown();
      return;
    }
    ThreadLocalRandom random = ThreadLocalRandom.current();
    int channel = random.nextInt(what.channels.size());
    byte[][] choice = what.messages[channel];
    ClientCall<byte[], byte[]> call =
        what.channels
            .get(channel)
            .newCall(
                EchoServer.Raw.INFER, CallOptions.DEFAULT.withDeadlineAfter(30, TimeUnit.SECONDS));
    call.start(
        new ClientCall.Listener<>() {
          private boolean answered;

          @Override
          public void onMessage(byte[] message) {
            answered = true;
          }

          @Override
          public void onClose(Status status, Metadata trailers) {
            if (!status.isOk() || !answered) {
              failure.set(status);
            }
            long index = calls.getAndIncrement();
            samples[(int) (index % MAX_SAMPLES)] =
                (int) Math.min(Integer.MAX_VALUE, System.nanoTime() - nowNs);
            next();
          }
        },
        new Metadata());
    call.request(2);
    call.sendMessage(choice[random.nextInt(choice.length)]);
    call.halfClose();
  }
}
