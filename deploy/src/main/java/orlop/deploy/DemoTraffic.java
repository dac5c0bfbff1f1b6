package orlop.deploy;

import io.grpc.StatusRuntimeException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BooleanSupplier;
import java.util.random.RandomGenerator;

/**
 * A load of single-row calls: models by Zipf's law, rows drawn from the held-out ones with
 * replacement. Each answer is compared with what the model's trainer predicts for that row.
 */
final class DemoTraffic {
  private static final double ZIPF_EXPONENT = 1.0;

  private final DemoClient client;
  private final List<DemoModel> models;
  private final Map<String, float[][]> heldOut;
  private final double[] cumulative;

  /**
   * @param models the most popular first
   * @param heldOut rows by dataset
   */
  DemoTraffic(DemoClient client, List<DemoModel> models, Map<String, float[][]> heldOut) {
    this.client = client;
    this.models = List.copyOf(models);
    this.heldOut = Map.copyOf(heldOut);
    this.cumulative = new double[models.size()];
    double sum = 0;
    for (int i = 0; i < cumulative.length; i++) {
      sum += 1 / Math.pow(i + 1, ZIPF_EXPONENT);
      cumulative[i] = sum;
    }
  }

  /**
   * @param wrong answers that differ from the trainer's
   * @param errors the distinct messages of failed calls, at most ten
   */
  record Result(long calls, long failed, long wrong, long[] latenciesNs, List<String> errors) {
    /** Milliseconds below which the share of the calls was answered. */
    double quantileMs(double share) {
      return latenciesNs.length == 0
          ? 0
          : latenciesNs[(int) Math.min(latenciesNs.length - 1, share * latenciesNs.length)] / 1e6;
    }
  }

  /** Calls from {@code workers} threads until {@code calls} are made or {@code stop} says so. */
  Result run(int calls, int workers, long seed, BooleanSupplier stop) {
    AtomicInteger left = new AtomicInteger(calls);
    AtomicLong failed = new AtomicLong();
    AtomicLong wrong = new AtomicLong();
    Map<String, Boolean> errors = new ConcurrentHashMap<>();
    try (ExecutorService pool = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<long[]>> parts = new ArrayList<>();
      for (int w = 0; w < workers; w++) {
        RandomGenerator random = DemoData.random(seed * 1_000 + w);
        parts.add(
            pool.submit(
                () -> {
                  long[] latencies = new long[1024];
                  int n = 0;
                  while (left.getAndDecrement() > 0 && !stop.getAsBoolean()) {
                    long begin = System.nanoTime();
                    try {
                      if (!one(random)) {
                        wrong.incrementAndGet();
                      }
                    } catch (StatusRuntimeException e) {
                      failed.incrementAndGet();
                      if (errors.size() < 10) {
                        errors.put(ErrorLine.flat(e.getMessage()), true);
                      }
                    }
                    if (n == latencies.length) {
                      latencies = Arrays.copyOf(latencies, 2 * n);
                    }
                    latencies[n++] = System.nanoTime() - begin;
                  }
                  return Arrays.copyOf(latencies, n);
                }));
      }
      long[] all =
          parts.stream().flatMapToLong(part -> Arrays.stream(joined(part))).sorted().toArray();
      return new Result(all.length, failed.get(), wrong.get(), all, List.copyOf(errors.keySet()));
    }
  }

  private static long[] joined(Future<long[]> part) {
    try {
      return part.get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return new long[0];
    } catch (ExecutionException e) {
      throw new IllegalStateException(e.getCause());
    }
  }

  /** Whether the mesh answers as the trainer does. */
  private boolean one(RandomGenerator random) {
    DemoModel model = models.get(rank(random.nextDouble()));
    float[][] rows = Objects.requireNonNull(heldOut.get(model.dataset()));
    int row = random.nextInt(rows.length);
    int[] label = client.predict(model, new float[][] {model.inputOf(rows[row])});
    return label[0] == model.heldOutPredicted()[row];
  }

  private int rank(double uniform) {
    int at = Arrays.binarySearch(cumulative, uniform * cumulative[cumulative.length - 1]);
    return Math.min(cumulative.length - 1, at >= 0 ? at : -at - 1);
  }
}
