package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
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
      Grown grown = inAProcessOfItsOwn(file(bytes), 2 * MODELS);
      assertTrue(grown.bytes > grown.said / 2 && grown.bytes < 2 * grown.said, grown.toString());
    }
  }

  @Test
  void saysWhatALargeModelTakesAlsoWhereThePredictionIsWrong() throws Exception {
    Path weights = file(OnnxModels.dense(1024, 4096, 1024));
    Path nested = file(OnnxModels.branches(4 << 20));
    for (Path path : List.of(weights, nested)) {
      Grown grown = inAProcessOfItsOwn(path, 3);
      long off = Math.abs(grown.bytes - grown.said);
      assertTrue(off < grown.bytes / 10, grown.toString());
      if (path.equals(nested)) {
        long predicted = 3 * runtime.predictSizeBytes(path);
        assertTrue(predicted > grown.bytes * 3 / 2, predicted + " predicted, " + grown);
      }
    }
  }

  @Test
  void aLoadBesideAnotherCountsAsPredicted() throws Exception {
    Path path = file(OnnxModels.branches(4 << 20));
    ModelGrowth.awaitMeasuring();
    try (NativeHeap.Change _ = NativeHeap.loading(1);
        LoadedModel model = runtime.load("m", "onnx", path)) {
      assertEquals(runtime.predictSizeBytes(path), model.sizeBytes());
    }
  }

  @Test
  void nothingIsMeasuredWhileAnotherModelComesOrGoes() {
    long[] grown = {-1, -1, -1};
    for (int i = 0; i < grown.length; i++) {
      ModelGrowth.awaitMeasuring();
      try (NativeHeap.Change load = NativeHeap.loadingMeasured(MB)) {
        if (i > 0) {
          (i == 1 ? NativeHeap.unloading() : NativeHeap.loading(MB)).close();
        }
        // As much as whatever else goes on here cannot free meanwhile.
        try (Arena arena = Arena.ofConfined()) {
          arena.allocate(64 * MB);
          grown[i] = load.grownBytes();
        }
      }
    }
    assertTrue(grown[0] > 32 * MB && grown[0] < 96 * MB, "alone it grew by " + grown[0]);
    assertEquals(-1, grown[1], "beside an unload");
    assertEquals(-1, grown[2], "beside a load");
  }

  @Test
  void whatIsMeasuredIsBelievedBeyondTheNoiseAndWithinBounds() {
    assertEquals(20 * MB, MeasuredSize.of(20 * MB, -1), "not measured");
    assertEquals(20 * MB, MeasuredSize.of(20 * MB, 28 * MB), "noise");
    assertEquals(30 * MB, MeasuredSize.of(20 * MB, 30 * MB));
    assertEquals(11 * MB, MeasuredSize.of(20 * MB, 11 * MB));
    assertEquals(10 * MB, MeasuredSize.of(20 * MB, 0), "weights are somewhere");
    assertEquals(80 * MB, MeasuredSize.of(20 * MB, 900 * MB), "so much is something else");
    assertEquals(200 * MB, MeasuredSize.of(200 * MB, 220 * MB), "as good as the formula");
  }

  /** What so many models said to weigh, and what their process grew by. */
  private record Grown(long said, long bytes) {}

  private Grown inAProcessOfItsOwn(Path model, int copies) throws Exception {
    Path output = dir.resolve("growth.txt");
    ProcessBuilder builder =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xms64m",
                "-Xmx64m",
                "-XX:+AlwaysPreTouch",
                "-XX:+UseSerialGC",
                "--enable-native-access=ALL-UNNAMED",
                "--sun-misc-unsafe-memory-access=allow",
                ModelGrowth.class.getName(),
                model.toString(),
                Integer.toString(copies))
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .directory(dir.toFile());
    // Not as an argument: the engine does not start under a long command line.
    builder.environment().put("CLASSPATH", System.getProperty("java.class.path"));
    Process process = builder.start();
    try {
      boolean ended = process.waitFor(60, TimeUnit.SECONDS);
      String said = Files.readString(output);
      assertTrue(ended && process.exitValue() == 0, said);
      Matcher figures = Pattern.compile("said (\\d+) grown (-?\\d+)").matcher(said);
      assertTrue(figures.find(), said);
      return new Grown(Long.parseLong(figures.group(1)), Long.parseLong(figures.group(2)));
    } finally {
      process.destroyForcibly();
    }
  }

  @Test
  @Tag("slow")
  void givesMemoryBackHoweverOftenModelsComeAndGo() throws Exception {
    Path path = file(OnnxModels.dense(64, 256, 64));
    closeAll(loadMany(path, MODELS));
    long first = ModelGrowth.settledRss();
    long size = runtime.predictSizeBytes(path);
    for (int round = 0; round < 4; round++) {
      closeAll(loadMany(path, MODELS));
    }
    long leaked = ModelGrowth.settledRss() - first;
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
      long loaded = ModelGrowth.rss();
      long size = models.stream().mapToLong(LoadedModel::sizeBytes).sum();
      closeAll(models);
      long deadline = System.nanoTime() + Duration.ofSeconds(30).toNanos();
      while (loaded - ModelGrowth.rss() < size / 2) {
        assertTrue(
            System.nanoTime() < deadline,
            "gave back " + (loaded - ModelGrowth.rss()) / MB + " MB of " + size / MB);
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
}
