package orlop.bench;

import com.google.protobuf.ByteString;
import inference.ModelInferRequest;
import io.grpc.Attributes;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ClientStreamTracer;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Predicate;

/**
 * Calls at a steady rate, each of the models in turn, whatever becomes of the calls before; all are
 * remembered. One thread starts them, the transport's end them.
 */
final class SteadyCalls implements AutoCloseable {
  private static final long DEADLINE_MS = 30_000;

  /**
   * One call.
   *
   * @param entryPort of the pod that it was first sent to; 0 when it never was
   */
  record Done(int model, int entryPort, long startNs, long endNs, Status status) {
    boolean failed() {
      return !status.isOk();
    }

    double millis() {
      return (endNs - startNs) / 1e6;
    }

    boolean startedWithin(long fromNs, long toNs) {
      return startNs >= fromNs && startNs < toNs;
    }

    /** Whether it was under way at some moment of that time. */
    boolean overlaps(long fromNs, long toNs) {
      return startNs <= toNs && endNs >= fromNs;
    }
  }

  private final ManagedChannel channel;
  private final byte[][] requests;
  private final long gapNs;
  private final Queue<Done> done = new ConcurrentLinkedQueue<>();
  private final AtomicInteger underWay = new AtomicInteger();
  private final Thread thread;
  private volatile boolean stopped;

  /**
   * @param models named {@link #model}
   */
  SteadyCalls(ManagedChannel channel, int models, int perSecond) {
    this.channel = channel;
    this.gapNs = 1_000_000_000L / perSecond;
    this.requests = new byte[models][];
    for (int i = 0; i < models; i++) {
      requests[i] = request(i);
    }
    this.thread = Thread.ofPlatform().daemon().name("orlop-bench-calls").start(this::run);
  }

  static String model(int i) {
    return "model-%05d".formatted(i);
  }

  static byte[] request(int i) {
    return ModelInferRequest.newBuilder()
        .setModelName(model(i))
        .addInputs(
            ModelInferRequest.InferInputTensor.newBuilder()
                .setName("x")
                .setDatatype("FP32")
                .addShape(32))
        .addRawInputContents(ByteString.copyFrom(new byte[128]))
        .build()
        .toByteArray();
  }

  private void run() {
    long dueNs = System.nanoTime();
    for (int i = 0; !stopped; i = (i + 1) % requests.length) {
      for (long left = dueNs - System.nanoTime(); left > 0; left = dueNs - System.nanoTime()) {
        LockSupport.parkNanos(left);
      }
      dueNs += gapNs;
      call(i);
    }
  }

  private void call(int model) {
    long startNs = System.nanoTime();
    Entry entry = new Entry();
    underWay.incrementAndGet();
    ClientCall<byte[], byte[]> call =
        channel.newCall(
            EchoServer.Raw.INFER,
            CallOptions.DEFAULT
                .withDeadlineAfter(DEADLINE_MS, TimeUnit.MILLISECONDS)
                .withStreamTracerFactory(entry));
    call.start(
        new ClientCall.Listener<>() {
          @Override
          public void onClose(Status status, Metadata trailers) {
            done.add(new Done(model, entry.port, startNs, System.nanoTime(), status));
            underWay.decrementAndGet();
          }
        },
        new Metadata());
    call.request(2);
    call.sendMessage(requests[model]);
    call.halfClose();
  }

  /** Notes where a call was first sent. */
  private static final class Entry extends ClientStreamTracer.Factory {
    private volatile int port;

    @Override
    public ClientStreamTracer newClientStreamTracer(
        ClientStreamTracer.StreamInfo info, Metadata headers) {
      return new ClientStreamTracer() {
        @Override
        public void streamCreated(Attributes transport, Metadata sent) {
          if (port == 0
              && transport.get(Grpc.TRANSPORT_ATTR_REMOTE_ADDR) instanceof InetSocketAddress to) {
            port = to.getPort();
          }
        }
      };
    }
  }

  /** Of the calls that have ended. */
  List<Done> all(Predicate<Done> which) {
    return done.stream().filter(which).toList();
  }

  /** A percentile of how long the calls took, in milliseconds; NaN when there are none. */
  static double percentile(List<Done> calls, double percent) {
    double[] sorted = calls.stream().mapToDouble(Done::millis).toArray();
    Arrays.sort(sorted);
    return sorted.length == 0
        ? Double.NaN
        : sorted[(int) Math.min(sorted.length - 1, sorted.length * percent / 100)];
  }

  /** The first few failures, for people. */
  static String why(List<Done> failed) {
    List<String> lines = new ArrayList<>();
    for (Done call : failed.subList(0, Math.min(3, failed.size()))) {
      lines.add(
          "%s at port %d after %.0f ms: %s"
              .formatted(model(call.model), call.entryPort, call.millis(), call.status));
    }
    return String.join("; ", lines);
  }

  /** Starts no more and waits for those under way. */
  void stop() throws InterruptedException {
    stopped = true;
    thread.join();
    long untilNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(DEADLINE_MS + 5_000);
    while (underWay.get() > 0 && System.nanoTime() < untilNs) {
      TimeUnit.MILLISECONDS.sleep(20);
    }
  }

  @Override
  public void close() {
    stopped = true;
    thread.interrupt();
  }
}
