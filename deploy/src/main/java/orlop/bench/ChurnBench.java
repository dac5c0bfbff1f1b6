package orlop.bench;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Queue;
import java.util.Random;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLongArray;
import orlop.placement.Eviction;
import orlop.registry.EtcdProcess;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * {@code orlop bench churn}: far more models than fit, all of them called. The same trace goes to a
 * pod with the default policy and to one with LRU, a stretch to each in turn, so that both meet the
 * same machine.
 */
@Command(
    name = "churn",
    mixinStandardHelpOptions = true,
    description = {
      "Call 10,000 models by Zipf's law where memory has room for 2,000, with the default policy and",
      "with LRU in turn. Needs etcd; takes two to four minutes."
    })
final class ChurnBench extends Benchmark {
  private static final int STRETCHES = 12;
  private static final int LOADERS = 16;
  private static final long LOAD_MS = 20;
  private static final long SEED = 1;

  @Option(
      names = "--models",
      defaultValue = "10000",
      description = "Registered. Default: ${DEFAULT-VALUE}.")
  int models = 10_000;

  @Option(
      names = "--room",
      defaultValue = "2000",
      description = "Models that memory holds. Default: ${DEFAULT-VALUE}.")
  int room = 2_000;

  @Option(
      names = "--calls",
      defaultValue = "60000",
      description = "To each policy; the first third fills its memory. Default: ${DEFAULT-VALUE}.")
  int calls = 60_000;

  @Option(
      names = "--in-flight",
      defaultValue = "32",
      description = "Calls at a time. Default: ${DEFAULT-VALUE}.")
  int inFlight = 32;

  /** One policy's mesh and what it showed after its memory was full. */
  private static final class Side {
    final BenchMesh mesh;
    final AtomicInteger errors = new AtomicInteger();
    final Queue<String> refusals = new ConcurrentLinkedQueue<>();
    final AtomicInteger counted = new AtomicInteger();
    final AtomicLongArray tookNs;
    long missesBefore;

    Side(BenchMesh mesh, int calls) {
      this.mesh = mesh;
      this.tookNs = new AtomicLongArray(calls);
    }

    /** Calls that waited for a load, ever. */
    long misses() throws Exception {
      return Bench.counter(mesh.pods().getFirst().metrics(), "modelmesh_cache_miss");
    }

    double hitRatio() throws Exception {
      return 1 - (misses() - missesBefore) / (double) counted.get();
    }
  }

  @Override
  Figures measure(PrintWriter table) throws Exception {
    Path data = Files.createTempDirectory("orlop-bench-churn");
    try (EtcdProcess etcd = EtcdProcess.start(data);
        BenchMesh ours = mesh(etcd, Eviction.ADAPTIVE);
        BenchMesh lru = mesh(etcd, Eviction.LRU)) {
      var unused = ours.register(models, "", false);
      unused = lru.register(models, "", false);
      table.printf(Locale.ROOT, "registered %d models in each of two meshes%n", models);
      table.flush();
      int[] trace = trace();
      Side adaptive = new Side(ours, calls);
      Side plain = new Side(lru, calls);
      int stretch = calls / STRETCHES;
      for (int i = 0; i < STRETCHES; i++) {
        boolean counts = i >= STRETCHES / 3;
        for (Side side : i % 2 == 0 ? List.of(adaptive, plain) : List.of(plain, adaptive)) {
          if (counts && side.counted.get() == 0) {
            side.missesBefore = side.misses();
          }
          call(side, Arrays.copyOfRange(trace, i * stretch, (i + 1) * stretch), counts);
        }
      }
      double hitRatio = adaptive.hitRatio();
      double lruHitRatio = plain.hitRatio();
      if (!adaptive.refusals.isEmpty()) {
        table.println("refused: " + adaptive.refusals.peek());
      }
      return new Figures()
          .atMost("errors", adaptive.errors.get() + plain.errors.get(), 0)
          .atLeast("hitRatio", hitRatio, lruHitRatio)
          .add("lruHitRatio", lruHitRatio)
          .add("p50Millis", Bench.percentile(adaptive.tookNs, adaptive.counted.get(), 50) / 1e6)
          .add("p99Millis", Bench.percentile(adaptive.tookNs, adaptive.counted.get(), 99) / 1e6)
          .add("lruP99Millis", Bench.percentile(plain.tookNs, plain.counted.get(), 99) / 1e6);
    } finally {
      Bench.delete(data);
    }
  }

  private BenchMesh mesh(EtcdProcess etcd, Eviction policy) throws Exception {
    BenchMesh mesh =
        new BenchMesh(
            BenchMesh.setup(etcd.endpoint(), policy.name(), LOAD_MS, LOADERS, room, policy));
    mesh.start();
    return mesh;
  }

  /** Model i is called in proportion to 1 / (i + 1); the ids are shuffled. */
  private int[] trace() {
    double[] upTo = new double[models];
    double sum = 0;
    for (int i = 0; i < models; i++) {
      sum += 1.0 / (i + 1);
      upTo[i] = sum;
    }
    Random random = new Random(SEED);
    List<Integer> ids = new ArrayList<>();
    for (int i = 0; i < models; i++) {
      ids.add(i);
    }
    Collections.shuffle(ids, random);
    int[] trace = new int[calls];
    for (int i = 0; i < calls; i++) {
      int at = Arrays.binarySearch(upTo, random.nextDouble() * sum);
      trace[i] = ids.get(Math.min(models - 1, at < 0 ? -at - 1 : at));
    }
    return trace;
  }

  private void call(Side side, int[] trace, boolean counts) throws InterruptedException {
    AtomicInteger next = new AtomicInteger();
    CountDownLatch running = new CountDownLatch(inFlight);
    for (int i = 0; i < inFlight; i++) {
      new Lane(side, trace, counts, next, running).next();
    }
    if (!running.await(10, TimeUnit.MINUTES)) {
      throw new IllegalStateException("calls did not end within 10 minutes");
    }
  }

  /** One of the calls in flight: each begins when the last has ended. */
  private record Lane(
      Side side, int[] trace, boolean counts, AtomicInteger at, CountDownLatch running) {
    void next() {
      int i = at.getAndIncrement();
      if (i >= trace.length) {
        running.countDown();
        return;
      }
      long startNs = System.nanoTime();
      ClientCall<byte[], byte[]> call =
          side.mesh
              .channel()
              .newCall(
                  EchoServer.Raw.INFER,
                  CallOptions.DEFAULT.withDeadlineAfter(60, TimeUnit.SECONDS));
      call.start(
          new ClientCall.Listener<>() {
            @Override
            public void onClose(Status status, Metadata trailers) {
              if (!status.isOk()) {
                side.errors.incrementAndGet();
                side.refusals.add(status.toString());
              }
              if (counts) {
                side.tookNs.set(side.counted.getAndIncrement(), System.nanoTime() - startNs);
              }
              next();
            }
          },
          new Metadata());
      call.request(2);
      call.sendMessage(SteadyCalls.request(trace[i]));
      call.halfClose();
    }
  }
}
