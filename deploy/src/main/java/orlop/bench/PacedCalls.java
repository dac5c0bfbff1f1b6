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
import java.util.concurrent.locks.LockSupport;

/**
 * Calls at a steady rate, whether or not those before have been answered, each timed from when it
 * was due.
 */
record PacedCalls(double perSecond, double p50Ms, double p99Ms, int failed) {
  private static final long TIMEOUT_MS = 30_000;

  /** One call to each of the models, in that order. */
  static PacedCalls run(ManagedChannel channel, int[] models, int columns, int perSecond)
      throws InterruptedException {
    long[] tookNs = new long[models.length];
    AtomicInteger failed = new AtomicInteger();
    CountDownLatch running = new CountDownLatch(models.length);
    long startNs = System.nanoTime();
    for (int i = 0; i < models.length; i++) {
      int index = i;
      long dueNs = startNs + i * 1_000_000_000L / perSecond;
      for (long leftNs = dueNs - System.nanoTime(); leftNs > 0; ) {
        LockSupport.parkNanos(leftNs);
        leftNs = dueNs - System.nanoTime();
      }
      ClientCall<byte[], byte[]> call =
          channel.newCall(
              EchoServer.Raw.INFER,
              CallOptions.DEFAULT.withDeadlineAfter(TIMEOUT_MS, TimeUnit.MILLISECONDS));
      call.start(
          new ClientCall.Listener<>() {
            @Override
            public void onClose(Status status, Metadata trailers) {
              tookNs[index] = System.nanoTime() - dueNs;
              if (!status.isOk()) {
                failed.incrementAndGet();
              }
              running.countDown();
            }
          },
          new Metadata());
      call.request(2);
      call.sendMessage(DensityBench.request(models[i], columns));
      call.halfClose();
    }
    if (!running.await(2 * TIMEOUT_MS, TimeUnit.MILLISECONDS)) {
      throw new IllegalStateException(running.getCount() + " calls did not end");
    }
    double seconds = (System.nanoTime() - startNs) / 1e9;
    Arrays.sort(tookNs);
    return new PacedCalls(
        models.length / seconds,
        tookNs[tookNs.length / 2] / 1e6,
        tookNs[(int) (tookNs.length * 0.99)] / 1e6,
        failed.get());
  }
}
