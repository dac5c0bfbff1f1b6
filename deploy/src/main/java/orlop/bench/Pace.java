package orlop.bench;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.Arrays;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;

/**
 * Sends calls at a steady pace, whether or not earlier ones have been answered, and measures each
 * from the moment at which it was due: a server that stands still is seen by all calls of that
 * time.
 */
final class Pace {
  private static final int DEADLINE_S = 60;

  /**
   * What came back.
   *
   * @param sortedMicros time to the answer or failure of each call, shortest first
   * @param lateMillis by how much a call was sent after its time, at most
   */
  record Outcome(int[] sortedMicros, int failed, @Nullable Status firstFailure, double lateMillis) {
    double millis(double share) {
      int index = (int) Math.min(sortedMicros.length - 1L, Math.round(sortedMicros.length * share));
      return sortedMicros[index] / 1e3;
    }
  }

  private final CountDownLatch open;
  private final int[] micros;
  private final AtomicInteger failed = new AtomicInteger();
  private final AtomicReference<@Nullable Status> firstFailure = new AtomicReference<>();

  private Pace(int calls) {
    open = new CountDownLatch(calls);
    micros = new int[calls];
  }

  /**
   * Returns when all have ended.
   *
   * @param message the encoded request of each call, by its number
   */
  static Outcome run(
      ManagedChannel channel, int calls, double perSecond, IntFunction<byte[]> message)
      throws InterruptedException {
    Pace pace = new Pace(calls);
    long startNs = System.nanoTime();
    long lateNs = 0;
    for (int i = 0; i < calls; i++) {
      long dueNs = startNs + (long) (i * 1e9 / perSecond);
      for (long leftNs = dueNs - System.nanoTime();
          leftNs > 0;
          leftNs = dueNs - System.nanoTime()) {
        LockSupport.parkNanos(leftNs);
      }
      lateNs = Math.max(lateNs, System.nanoTime() - dueNs);
      pace.send(channel, i, dueNs, message.apply(i));
    }
    if (!pace.open.await(2 * DEADLINE_S, TimeUnit.SECONDS)) {
      throw new IllegalStateException(pace.open.getCount() + " calls did not end");
    }
    Arrays.sort(pace.micros);
    return new Outcome(pace.micros, pace.failed.get(), pace.firstFailure.get(), lateNs / 1e6);
  }

  private void send(ManagedChannel channel, int index, long dueNs, byte[] message) {
    ClientCall<byte[], byte[]> call =
        channel.newCall(
            EchoServer.Raw.INFER,
            CallOptions.DEFAULT.withDeadlineAfter(DEADLINE_S, TimeUnit.SECONDS));
    call.start(
        new ClientCall.Listener<>() {
          @Override
          public void onClose(Status status, Metadata trailers) {
            if (!status.isOk()) {
              failed.incrementAndGet();
              firstFailure.compareAndSet(null, status);
            }
            micros[index] = (int) Math.min(Integer.MAX_VALUE, (System.nanoTime() - dueNs) / 1_000);
            open.countDown();
          }
        },
        new Metadata());
    call.request(2);
    call.sendMessage(message);
    call.halfClose();
  }
}
