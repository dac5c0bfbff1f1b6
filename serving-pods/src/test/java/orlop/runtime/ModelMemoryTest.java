package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * What a model is said to weigh is what the process grows by, and is given back when it leaves. The
 * bounds are loose, because the resident size is that of the whole process.
 */
class ModelMemoryTest extends RuntimeTestBase {
  private static final int MODELS = 200;
  private static final long MB = 1_000_000;

  @BeforeEach
  void needsLinux() {
    assumeTrue(Files.exists(Path.of("/proc/self/statm")) && NativeHeap.canTrim());
  }

  @Test
  void predictsTheSizeThatTheLoadedModelReports() throws Exception {
    for (byte[] bytes :
        List.of(
            OnnxModels.identity("FP32", 1),
            OnnxModels.dense(16, 32, 8),
            OnnxModels.dense(256, 1024, 256))) {
      Path path = file(bytes);
      try (LoadedModel model = runtime.load("m", "onnx", path)) {
        assertEquals(model.sizeBytes(), runtime.predictSizeBytes(path));
        assertTrue(model.sizeBytes() > bytes.length + 30_000);
      }
    }
  }

  @Test
  void countsWeightsInOtherFiles() throws Exception {
    Files.write(dir.resolve("model.onnx"), OnnxModels.external("weights.bin", 1_000_000));
    long without = runtime.predictSizeBytes(file(OnnxModels.external("weights.bin", 0)));
    long with = runtime.predictSizeBytes(dir.resolve("model.onnx"));
    assertEquals(4_000_000, with - without, 100);
  }

  @Test
  @Tag("slow")
  void growsByTheSizeThatModelsReport() throws Exception {
    for (byte[] bytes : List.of(OnnxModels.dense(16, 32, 8), OnnxModels.dense(64, 256, 64))) {
      Path path = file(bytes);
      // They fill the holes that earlier models left in the heap.
      List<LoadedModel> filling = loadMany(path, 2 * MODELS);
      long before = settledRss();
      List<LoadedModel> models = loadMany(path, 2 * MODELS);
      long grown = settledRss() - before;
      long said = models.stream().mapToLong(LoadedModel::sizeBytes).sum();
      closeAll(models);
      closeAll(filling);
      assertTrue(
          grown > said / 2 && grown < 2 * said, "grew by " + grown + ", models said " + said);
    }
  }

  @Test
  @Tag("slow")
  void givesMemoryBackHoweverOftenModelsComeAndGo() throws Exception {
    Path path = file(OnnxModels.dense(64, 256, 64));
    closeAll(loadMany(path, MODELS));
    long first = settledRss();
    long size = runtime.predictSizeBytes(path);
    for (int round = 0; round < 4; round++) {
      closeAll(loadMany(path, MODELS));
    }
    long leaked = settledRss() - first;
    // Four rounds that kept everything would have kept four times this.
    assertTrue(leaked < MODELS * size / 2, leaked + " bytes more than after the first round");
  }

  @Test
  @Tag("slow")
  void trimsByItselfSoonAfterUnloads() throws Exception {
    Path path = file(OnnxModels.dense(64, 256, 64));
    try (OnnxRuntime trimming = new OnnxRuntime(new RuntimeConfig(1, false, 0, 20, false))) {
      List<LoadedModel> models = new ArrayList<>();
      for (int i = 0; i < 2 * MODELS; i++) {
        models.add(trimming.load("m" + i, "onnx", path));
      }
      long loaded = rss();
      long size = models.stream().mapToLong(LoadedModel::sizeBytes).sum();
      closeAll(models);
      long deadline = System.nanoTime() + Duration.ofSeconds(30).toNanos();
      while (loaded - rss() < size / 2) {
        assertTrue(
            System.nanoTime() < deadline,
            "gave back " + (loaded - rss()) / MB + " MB of " + size / MB);
        Thread.onSpinWait();
      }
    }
  }

  private List<LoadedModel> loadMany(Path path, int count) throws Exception {
    List<LoadedModel> models = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      models.add(runtime.load("m" + i, "onnx", path));
    }
    return models;
  }

  private static void closeAll(List<LoadedModel> models) {
    models.forEach(LoadedModel::close);
  }

  /** Once the Java heap and the C heap have nothing more to give back. */
  private static long settledRss() throws IOException {
    long before = Long.MAX_VALUE;
    long now = rss();
    for (int i = 0; i < 20 && before - now > MB / 4; i++) {
      before = now;
      System.gc();
      NativeHeap.trimNow();
      now = rss();
    }
    return now;
  }

  private static long rss() throws IOException {
    long pages = Long.parseLong(Files.readString(Path.of("/proc/self/statm")).split(" ")[1]);
    return pages * 4096;
  }
}
