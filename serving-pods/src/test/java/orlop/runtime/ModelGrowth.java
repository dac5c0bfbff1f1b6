package orlop.runtime;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * A process of its own, whose C heap nobody else has left holes in: loads so many copies of a
 * model, and prints what they say to weigh together and what the process has grown by.
 */
final class ModelGrowth {
  private static final long SETTLED_BYTES = 250_000;
  private static final long MOST_NS = TimeUnit.SECONDS.toNanos(20);

  private ModelGrowth() {}

  /** With the path of a model file and a number of copies. */
  public static void main(String[] args) throws Exception {
    Path file = Path.of(args[0]);
    int copies = Integer.parseInt(args[1]);
    try (OnnxRuntime runtime = new OnnxRuntime(RuntimeConfig.defaults())) {
      runtime.load("first", "onnx", file).close();
      long before = settledRss();
      List<LoadedModel> models = new ArrayList<>();
      for (int i = 0; i < copies; i++) {
        if (copies < 10) {
          awaitMeasuring();
        }
        models.add(runtime.load("m" + i, "onnx", file));
      }
      long grown = settledRss() - before;
      long said = models.stream().mapToLong(LoadedModel::sizeBytes).sum();
      models.forEach(LoadedModel::close);
      System.out.println("said " + said + " grown " + grown);
    }
  }

  /** The heap is measured only now and then. */
  static void awaitMeasuring() {
    long startNs = System.nanoTime();
    while (!NativeHeap.mayMeasure()) {
      if (System.nanoTime() - startNs > MOST_NS) {
        throw new IllegalStateException("the heap is not to be measured any more");
      }
      LockSupport.parkNanos(1_000_000);
    }
  }

  /** Once the Java heap and the C heap have nothing more to give back. */
  static long settledRss() throws IOException {
    long before = Long.MAX_VALUE;
    long now = rss();
    for (int i = 0; i < 20 && before - now > SETTLED_BYTES; i++) {
      before = now;
      System.gc();
      NativeHeap.trimNow();
      now = rss();
    }
    return now;
  }

  static long rss() throws IOException {
    long pages = Long.parseLong(Files.readString(Path.of("/proc/self/statm")).split(" ")[1]);
    return pages * 4096;
  }
}
