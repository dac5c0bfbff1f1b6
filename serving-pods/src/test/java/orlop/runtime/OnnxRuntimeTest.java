package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelMetadataResponse;
import inference.ModelMetadataResponse.TensorMetadata;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import orlop.runtime.InferenceException.Code;
import orlop.runtime.ModelLoadException.Reason;

/** Models are loaded, run by many at once, stopped and unloaded; what is no model is refused. */
class OnnxRuntimeTest extends RuntimeTestBase {

  private ModelLoadException refusesToLoad(Path path) {
    return assertThrows(ModelLoadException.class, () -> runtime.load("m", "onnx", path));
  }

  private static String text(Exception e) {
    return String.valueOf(e.getMessage());
  }

  @Test
  void takesOnnxOfAnyVersionAndNothingElse() {
    assertTrue(runtime.supports("onnx"));
    assertTrue(runtime.supports("ONNX"));
    assertTrue(runtime.supports("onnx:1"));
    assertFalse(runtime.supports("onnxish"));
    assertFalse(runtime.supports(""));
    ModelLoadException e =
        assertThrows(ModelLoadException.class, () -> runtime.load("m", "sklearn", dir));
    assertEquals(Reason.BAD_MODEL, e.reason());
    assertEquals(
        "model 'm': type 'sklearn' is not for onnxruntime, expected onnx or onnx:<version>",
        e.getMessage());
  }

  @Test
  void describesTheModelsTensors() throws Exception {
    try (LoadedModel model = load(OnnxModels.twoInputs())) {
      ModelMetadataResponse metadata = model.metadata();
      assertEquals("m", metadata.getName());
      assertEquals("onnxruntime_onnx", metadata.getPlatform());
      assertEquals(List.of("x0 FP32 [-1, 2]", "x1 INT64 [-1]"), lines(metadata.getInputsList()));
      assertEquals(
          List.of("y0 FP32 [-1, 2]", "y1 INT64 [-1]", "y2 FP16 [-1, 2]"),
          lines(metadata.getOutputsList()));
    }
  }

  private static List<String> lines(List<TensorMetadata> tensors) {
    return tensors.stream()
        .map(t -> t.getName() + " " + t.getDatatype() + " " + t.getShapeList())
        .toList();
  }

  @ParameterizedTest
  @ValueSource(strings = {"model.onnx", "anything.onnx", "1/model.onnx"})
  void findsTheOneModelInADirectory(String name) throws Exception {
    Path file = dir.resolve(name);
    Files.createDirectories(file.getParent());
    Files.write(file, OnnxModels.linear(0, 1));
    Files.writeString(dir.resolve("README.md"), "not a model");
    try (LoadedModel model = runtime.load("m", "onnx", dir)) {
      assertEquals(1, model.metadata().getInputsCount());
      assertEquals(runtime.predictSizeBytes(dir), model.sizeBytes());
    }
  }

  @Test
  void loadsWeightsFromTheFileBesideTheModel() throws Exception {
    Files.write(dir.resolve("model.onnx"), OnnxModels.external("weights.bin", 3));
    Files.write(dir.resolve("weights.bin"), floatBytes(10, 20, 30));
    try (LoadedModel model = runtime.load("m", "onnx", dir)) {
      assertEquals(
          floats(11, 22, 33),
          infer(model, typed(input("x", "FP32", 3), floats(1, 2, 3))).getOutputs(0).getContents());
    }
  }

  @Test
  void saysThatExternalWeightsAreMissing() throws Exception {
    Files.write(dir.resolve("model.onnx"), OnnxModels.external("weights.bin", 3));
    ModelLoadException e = refusesToLoad(dir);
    assertTrue(text(e).contains("weights.bin"), e.getMessage());
    assertEquals(Reason.BAD_MODEL, e.reason());
  }

  @ParameterizedTest
  @ValueSource(strings = {"../secret.bin", "/etc/hostname", "a/../../secret.bin"})
  void refusesWeightsOutsideOfTheModelsDirectory(String location) throws Exception {
    Files.write(dir.resolve("model.onnx"), OnnxModels.external(location, 3));
    ModelLoadException e = refusesToLoad(dir);
    assertEquals(Reason.BAD_MODEL, e.reason());
    assertTrue(text(e).contains("external data at '" + location + "'"), e.getMessage());
  }

  @Test
  void refusesADirectoryOfSeveralModels() throws Exception {
    Files.write(dir.resolve("a.onnx"), OnnxModels.linear(0, 1));
    Files.write(dir.resolve("b.onnx"), OnnxModels.linear(0, 1));
    ModelLoadException e = refusesToLoad(dir);
    assertEquals(Reason.BAD_MODEL, e.reason());
    assertEquals(
        "model 'm': the directory "
            + dir
            + " holds several models, expected one: ["
            + dir.resolve("a.onnx")
            + ", "
            + dir.resolve("b.onnx")
            + "]",
        e.getMessage());
  }

  @Test
  void saysThatThereIsNoModel() {
    ModelLoadException empty = refusesToLoad(dir);
    assertEquals(Reason.NOT_FOUND, empty.reason());
    assertEquals("model 'm': " + dir + ": the directory holds no *.onnx", empty.getMessage());
    Path nowhere = dir.resolve("nowhere.onnx");
    ModelLoadException missing = refusesToLoad(nowhere);
    assertEquals(Reason.NOT_FOUND, missing.reason());
    assertEquals("model 'm': " + nowhere + ": no such file or directory", missing.getMessage());
    assertThrows(IOException.class, () -> runtime.predictSizeBytes(nowhere));
  }

  @Test
  void refusesFilesThatAreNoModels() throws Exception {
    byte[] model = OnnxModels.dense(16, 32, 8);
    byte[] noise = new byte[5000];
    new Random(1).nextBytes(noise);
    byte[] text = "this is not a model, it is a sentence".repeat(9).getBytes("UTF-8");
    for (byte[] bytes :
        List.of(
            new byte[0],
            noise,
            text,
            Arrays.copyOf(model, model.length / 2),
            OnnxModels.unknownOperator())) {
      Path path = file(bytes);
      ModelLoadException e = refusesToLoad(path);
      assertEquals(Reason.BAD_MODEL, e.reason(), e.getMessage());
      assertTrue(text(e).startsWith("model 'm'"), e.getMessage());
      assertTrue(text(e).contains(path.toString()), e.getMessage());
    }
  }

  @Test
  void servesTheTensorsOfAModelThatAlsoHasASequenceOutput() throws Exception {
    try (LoadedModel model = load(OnnxModels.zipMap(true))) {
      assertEquals(List.of("y FP32 [-1, 2]"), lines(model.metadata().getOutputsList()));
      assertEquals(
          "a sequence of a map from INT64 to FLOAT",
          model.metadata().getPropertiesOrThrow("orlop.output_left_out.probabilities"));
      assertEquals(
          floats(0.25f, 0.75f),
          infer(model, typed(input("x", "FP32", 1, 2), floats(0.25f, 0.75f)))
              .getOutputs(0)
              .getContents());
    }
  }

  @Test
  void refusesAModelWithoutAnyTensorOutput() throws Exception {
    ModelLoadException e = refusesToLoad(file(OnnxModels.zipMap(false)));
    assertEquals(Reason.BAD_MODEL, e.reason());
    assertTrue(text(e).contains("zipmap=False"), e.getMessage());
  }

  @Test
  void refusesInferenceAfterCloseAndClosesTwiceInPeace() throws Exception {
    LoadedModel model = load(OnnxModels.linear(0, 1));
    model.close();
    model.close();
    assertRefused(
        Code.INTERNAL,
        "model 'm' is unloaded and runs no more",
        model,
        typed(input("x", "FP32", 1, 1), floats(1)));
  }

  @Test
  void saysWhenAnInferenceNeedsMoreMemoryThanThereIs() throws Exception {
    try (LoadedModel model = load(OnnxModels.zerosOfShape())) {
      InferTensorContents huge =
          InferTensorContents.newBuilder().addInt64Contents(1L << 46).build();
      InferenceException e =
          assertThrows(
              InferenceException.class, () -> infer(model, typed(input("x", "INT64", 1), huge)));
      assertEquals(Code.RESOURCE_EXHAUSTED, e.code(), e.getMessage());
    }
  }

  @Test
  void stopsARunThatIsCancelled() throws Exception {
    int size = 256;
    ModelInferRequest request = raw(input("x", "FP32", size, size), new byte[4 * size * size]);
    try (LoadedModel model = load(OnnxModels.slow(size, 20_000));
        ExecutorService threads = Executors.newSingleThreadExecutor()) {
      Cancellation cancellation = new Cancellation();
      CountDownLatch started = new CountDownLatch(1);
      Future<?> run =
          threads.submit(
              () -> {
                started.countDown();
                return model.infer(request, cancellation);
              });
      started.await();
      // Whether this meets the run before or in its midst, it must end it: whole it takes minutes.
      assertThrows(TimeoutException.class, () -> run.get(300, TimeUnit.MILLISECONDS));
      cancellation.cancel();
      Exception e = assertThrows(Exception.class, () -> run.get(30, TimeUnit.SECONDS));
      InferenceException cause = assertInstanceOf(InferenceException.class, e.getCause());
      assertEquals("model 'm': the inference was cancelled", cause.getMessage());
      assertEquals(Code.CANCELLED, cause.code());
    }
  }

  @Test
  void refusesARunThatWasCancelledBefore() throws Exception {
    Cancellation cancellation = new Cancellation();
    cancellation.cancel();
    cancellation.cancel();
    try (LoadedModel model = load(OnnxModels.linear(0, 1))) {
      InferenceException e =
          assertThrows(
              InferenceException.class,
              () -> model.infer(typed(input("x", "FP32", 1, 1), floats(1)), cancellation));
      assertEquals(Code.CANCELLED, e.code());
    }
    assertThrows(IllegalStateException.class, Cancellation.NEVER::cancel);
  }

  @Test
  void runsWithACancellationThatNobodyUses() throws Exception {
    Cancellation cancellation = new Cancellation();
    try (LoadedModel model = load(OnnxModels.linear(1, 2))) {
      assertEquals(
          floats(7),
          model
              .infer(typed(input("x", "FP32", 1, 1), floats(3)), cancellation)
              .getOutputs(0)
              .getContents());
    }
    cancellation.cancel();
  }

  @Test
  void servesEightThreadsFromOneModel() throws Exception {
    try (LoadedModel model = load(OnnxModels.linear(0, 1, 1000));
        ExecutorService threads = Executors.newFixedThreadPool(8)) {
      List<Callable<Integer>> tasks = new ArrayList<>();
      for (int t = 0; t < 8; t++) {
        int thread = t;
        tasks.add(
            () -> {
              for (int i = 0; i < 1000; i++) {
                assertArrayEquals(
                    floatBytes(i + 1000f * thread),
                    infer(model, raw(input("x", "FP32", 1, 2), floatBytes(i, thread)))
                        .getRawOutputContents(0)
                        .toByteArray());
              }
              return 1000;
            });
      }
      int runs = 0;
      for (Future<Integer> done : threads.invokeAll(tasks, 60, TimeUnit.SECONDS)) {
        runs += done.get();
      }
      assertEquals(8000, runs);
    }
  }

  @Test
  void letsRunningInferencesEndWhenTheModelIsClosedUnderThem() throws Exception {
    // 200 models closed while four threads call them: each call is answered or refused in words.
    ModelInferRequest request = raw(input("x", "FP32", 1, 2), floatBytes(1, 2));
    Path path = file(OnnxModels.linear(0, 1, 1));
    try (ExecutorService threads = Executors.newFixedThreadPool(4)) {
      for (int round = 0; round < 200; round++) {
        LoadedModel model = runtime.load("m", "onnx", path);
        CountDownLatch warm = new CountDownLatch(4);
        List<Future<String>> ends = new ArrayList<>();
        for (int t = 0; t < 4; t++) {
          ends.add(threads.submit(() -> inferUntilRefused(model, request, warm)));
        }
        assertTrue(warm.await(30, TimeUnit.SECONDS));
        model.close();
        for (Future<String> end : ends) {
          assertEquals("model 'm' is unloaded and runs no more", end.get(30, TimeUnit.SECONDS));
        }
      }
    }
  }

  private static String inferUntilRefused(
      LoadedModel model, ModelInferRequest request, CountDownLatch warm) throws Exception {
    while (true) {
      try {
        assertArrayEquals(
            floatBytes(3), infer(model, request).getRawOutputContents(0).toByteArray());
        warm.countDown();
      } catch (InferenceException e) {
        return String.valueOf(e.getMessage());
      }
    }
  }

  @Test
  void servesFromTheCpuAndSaysSoWhenThereIsNoGpu() throws Exception {
    RuntimeConfig config = new RuntimeConfig(1, true, 0, 0, false);
    Gpu fake = new Gpu.Present(List.of(new Gpu.Device("pretended", 1, 1)));
    // Pretending a device is only quick where the engine has no CUDA part at all to unpack.
    boolean cpuBuild =
        OnnxRuntime.class.getResource(
                "/ai/onnxruntime/native/linux-x64/libonnxruntime_providers_cuda.so")
            == null;
    for (Gpu gpu :
        cpuBuild ? List.of(new Gpu.Absent("none"), fake) : List.of(new Gpu.Absent("none"))) {
      try (OnnxRuntime fallen = new OnnxRuntime(config, gpu);
          LoadedModel model = fallen.load("m", "onnx", file(OnnxModels.linear(0, 2)))) {
        assertEquals("onnxruntime", fallen.name());
        assertEquals(
            floats(6),
            infer(model, typed(input("x", "FP32", 1, 1), floats(3))).getOutputs(0).getContents());
      }
    }
  }

  @Test
  void probesForAGpuWithoutThrowing() {
    switch (Gpu.probe()) {
      case Gpu.Absent absent -> assertFalse(absent.reason().isBlank());
      case Gpu.Present present -> assertTrue(present.devices().getFirst().totalBytes() > 0);
    }
    Gpu missing = Gpu.Nvml.probe("libno-such-library.so.9");
    assertEquals(
        new Gpu.Absent("no NVIDIA driver on this machine (libno-such-library.so.9 not found)"),
        missing);
    // A library that is something else.
    Gpu other = Gpu.Nvml.probe("libc.so.6");
    assertEquals(
        new Gpu.Absent(
            "the NVIDIA driver could not be asked: java.lang.IllegalStateException: no"
                + " nvmlInit_v2"),
        other);
  }

  @Test
  void refusesSettingsOutOfRangeByKey() {
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class, () -> new RuntimeConfig(0, false, 0, 0, false));
    assertEquals("runtime.computeThreads = 0 is out of range, expected 1 to 1024", e.getMessage());
  }
}
