package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import inference.InferParameter;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferInputTensor;
import inference.ModelInferRequest.InferRequestedOutputTensor;
import inference.ModelInferResponse;
import inference.ModelMetadataResponse;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.runtime.InferenceException.Code;
import orlop.runtime.ModelLoadException.Reason;

/** What V2 clients and registrations see of tree models. */
class TreeRuntimeTest {
  @TempDir Path dir;
  private final TreeRuntime runtime = new TreeRuntime();

  private LoadedModel recorded(String file) throws Exception {
    return runtime.load(
        "m",
        file.startsWith("x") ? "xgboost" : "lightgbm",
        TreeModelsTest.recorded().resolve(file));
  }

  private static InferInputTensor.Builder row(String name, String datatype) {
    return RuntimeTestBase.input(name, datatype, 1, 5);
  }

  private static ModelInferRequest floats(String inputName) {
    return RuntimeTestBase.typed(
        row(inputName, "FP32"), RuntimeTestBase.floats(1, -2, Float.NaN, 3, 0.5f));
  }

  private static ModelInferRequest.Builder asking(String... outputs) {
    ModelInferRequest.Builder request = floats("input").toBuilder();
    for (String output : outputs) {
      request.addOutputs(InferRequestedOutputTensor.newBuilder().setName(output));
    }
    return request;
  }

  private static ModelInferResponse infer(LoadedModel model, ModelInferRequest request)
      throws InferenceException {
    return model.infer(request, Cancellation.NEVER);
  }

  @Test
  void tellsTheSignatureOfABinaryClassifier() throws Exception {
    ModelMetadataResponse metadata = recorded("x311_binary.ubj").metadata();
    assertEquals("xgboost", metadata.getPlatform());
    assertEquals("input", metadata.getInputs(0).getName());
    assertEquals("FP32", metadata.getInputs(0).getDatatype());
    assertEquals(List.of(-1L, 5L), metadata.getInputs(0).getShapeList());
    assertEquals(
        List.of("predict FP32[-1]", "probabilities FP32[-1, 2]", "classes INT64[-1]"),
        metadata.getOutputsList().stream()
            .map(output -> output.getName() + " " + output.getDatatype() + output.getShapeList())
            .toList());
    assertEquals("6", metadata.getPropertiesOrThrow("orlop.iterations"));
    assertEquals("binary:logistic", metadata.getPropertiesOrThrow("orlop.objective"));
  }

  @Test
  void answersAllDeclaredOutputsAndAgreesWithItself() throws Exception {
    ModelInferResponse two = infer(recorded("x311_binary.json"), floats("input"));
    float p = two.getOutputs(0).getContents().getFp32Contents(0);
    assertEquals(List.of(1 - p, p), two.getOutputs(1).getContents().getFp32ContentsList());
    assertEquals(p > 0.5f ? 1 : 0, two.getOutputs(2).getContents().getInt64Contents(0));

    ModelInferResponse three = infer(recorded("x311_softprob.json"), floats("input"));
    assertEquals(
        three.getOutputs(0).getContents().getFp32ContentsList(),
        three.getOutputs(1).getContents().getFp32ContentsList());
    ModelInferResponse best = infer(recorded("x311_softmax.json"), floats("input"));
    assertEquals(
        three.getOutputs(2).getContents().getInt64Contents(0),
        (long) best.getOutputs(0).getContents().getFp32Contents(0));
    assertEquals(List.of(1L), best.getOutputs(0).getShapeList());

    ModelInferResponse light = infer(recorded("l470_binary.txt"), floats("input"));
    assertEquals("FP64", light.getOutputs(0).getDatatype());
    double q = light.getOutputs(0).getContents().getFp64Contents(0);
    assertEquals(List.of(1 - q, q), light.getOutputs(1).getContents().getFp64ContentsList());
    ModelInferResponse regression = infer(recorded("l470_sqrt.txt"), floats("input"));
    assertEquals(1, regression.getOutputsCount());
  }

  @Test
  void takesItsOneInputUnderAnyName() throws Exception {
    LoadedModel model = recorded("x311_binary.json");
    ModelInferResponse expected = infer(model, floats("input"));
    for (String name : List.of("input-0", "input__0", "predict", "")) {
      assertEquals(expected, infer(model, floats(name)));
    }
  }

  @Test
  void givesThePredictionUnderTheNamesThatOtherServersUse() throws Exception {
    LoadedModel model = recorded("x311_binary.json");
    ModelInferResponse answer =
        infer(model, asking("output__0", "predict", "output-0", "margin").build());
    assertEquals(
        List.of("output__0", "predict", "output-0", "margin"),
        answer.getOutputsList().stream().map(output -> output.getName()).toList());
    assertEquals(answer.getOutputs(1).getContents(), answer.getOutputs(0).getContents());
    assertEquals(answer.getOutputs(1).getContents(), answer.getOutputs(2).getContents());
    RuntimeTestBase.assertRefused(
        Code.INVALID_ARGUMENT,
        "model 'm': no output 'y', expected of predict FP32[-1], probabilities FP32[-1,2],"
            + " classes INT64[-1], margin FP32[-1]",
        model,
        asking("y").build());
    RuntimeTestBase.assertRefused(
        Code.INVALID_ARGUMENT,
        "model 'm': output 'predict' is requested twice, expected once",
        model,
        asking("predict", "predict").build());
  }

  @Test
  void takesNumbersOfAnyTypeTypedAndRaw() throws Exception {
    for (String file : List.of("x311_squarederror.json", "l470_binary.txt")) {
      LoadedModel model = recorded(file);
      float[] values = {1, 0, 2, 3, 1};
      ModelInferResponse expected =
          infer(model, RuntimeTestBase.typed(row("i", "FP32"), RuntimeTestBase.floats(values)));
      InferTensorContents.Builder contents = InferTensorContents.newBuilder();
      for (float value : values) {
        contents.addFp64Contents(value).addIntContents((int) value).addUintContents((int) value);
        contents.addInt64Contents((long) value).addUint64Contents((long) value);
      }
      for (String type :
          List.of(
              "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")) {
        TensorType.Field field = Objects.requireNonNull(TensorType.valueOf(type).field);
        InferTensorContents only = only(contents.build(), field);
        assertEquals(expected, infer(model, RuntimeTestBase.typed(row("i", type), only)), type);
      }
      for (String type :
          List.of(
              "FP32", "FP64", "FP16", "BF16", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16",
              "UINT32", "UINT64")) {
        ModelInferResponse answer =
            infer(model, RuntimeTestBase.raw(row("i", type), bytes(type, values)));
        double[] wanted = firstOutput(expected);
        assertArrayEquals(wanted, TreeModelsTest.numbers(answer, 0), type);
      }
    }
  }

  private static double[] firstOutput(ModelInferResponse typed) {
    InferTensorContents contents = typed.getOutputs(0).getContents();
    return contents.getFp32ContentsCount() > 0
        ? contents.getFp32ContentsList().stream().mapToDouble(Float::doubleValue).toArray()
        : contents.getFp64ContentsList().stream().mapToDouble(Double::doubleValue).toArray();
  }

  private static InferTensorContents only(InferTensorContents all, TensorType.Field field) {
    InferTensorContents.Builder kept = InferTensorContents.newBuilder();
    switch (field) {
      case FP64 -> kept.addAllFp64Contents(all.getFp64ContentsList());
      case INT -> kept.addAllIntContents(all.getIntContentsList());
      case UINT -> kept.addAllUintContents(all.getUintContentsList());
      case INT64 -> kept.addAllInt64Contents(all.getInt64ContentsList());
      case UINT64 -> kept.addAllUint64Contents(all.getUint64ContentsList());
      default -> throw new IllegalArgumentException(field.wireName);
    }
    return kept.build();
  }

  private static byte[] bytes(String type, float[] values) {
    TensorType tensorType = TensorType.valueOf(type);
    ByteBuffer bytes =
        ByteBuffer.allocate(values.length * tensorType.width).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      switch (tensorType) {
        case FP32 -> bytes.putFloat(value);
        case FP64 -> bytes.putDouble(value);
        case FP16 -> bytes.putShort(Float.floatToFloat16(value));
        case BF16 -> bytes.putShort((short) (Float.floatToRawIntBits(value) >>> 16));
        default -> {
          for (int i = 0; i < tensorType.width; i++) {
            bytes.put((byte) ((long) value >>> 8 * i));
          }
        }
      }
    }
    return bytes.array();
  }

  @Test
  void refusesWhatDoesNotFit() throws Exception {
    LoadedModel model = recorded("x311_binary.json");
    RuntimeTestBase.assertRefused(
        Code.INVALID_ARGUMENT,
        "model 'm': input 'input': shape [1,4], expected [-1,5]",
        model,
        RuntimeTestBase.typed(
            RuntimeTestBase.input("x", "FP32", 1, 4), RuntimeTestBase.floats(1, 2, 3, 4)));
    RuntimeTestBase.assertRefused(
        Code.INVALID_ARGUMENT,
        "model 'm': input 'input': datatype 'BYTES', expected FP32 or another type of numbers",
        model,
        RuntimeTestBase.typed(row("x", "BYTES"), InferTensorContents.getDefaultInstance()));
    RuntimeTestBase.assertRefused(
        Code.INVALID_ARGUMENT,
        "model 'm': 2 inputs, expected one: input FP32[-1,5], a row per sample",
        model,
        floats("a").toBuilder().addInputs(row("b", "FP32")).build());
    RuntimeTestBase.assertRefused(
        Code.INVALID_ARGUMENT,
        "model 'm': input 'input': raw contents of 3 bytes, expected 20 for FP32[1,5]",
        model,
        floats("a").toBuilder()
            .setInputs(0, row("a", "FP32"))
            .addRawInputContents(ByteString.copyFrom(new byte[3]))
            .build());
    RuntimeTestBase.assertRefused(
        Code.INVALID_ARGUMENT,
        "model 'm': parameter iteration_end = 7, expected 0 to 6",
        model,
        asking()
            .putParameters("iteration_end", InferParameter.newBuilder().setInt64Param(7).build())
            .build());
  }

  @Test
  void answersNoRowsWithNoRows() throws Exception {
    ModelInferResponse answer =
        infer(
            recorded("x311_softprob.json"),
            RuntimeTestBase.typed(
                RuntimeTestBase.input("input", "FP32", 0, 5),
                InferTensorContents.getDefaultInstance()));
    assertEquals(List.of(0L, 3L), answer.getOutputs(0).getShapeList());
  }

  @Test
  void refusesCancelledAndUnloaded() throws Exception {
    LoadedModel model = recorded("x311_binary.json");
    Cancellation cancelled = new Cancellation();
    cancelled.cancel();
    InferenceException stopped =
        assertThrows(InferenceException.class, () -> model.infer(floats("input"), cancelled));
    assertEquals(Code.CANCELLED, stopped.code());
    model.close();
    model.close();
    RuntimeTestBase.assertRefused(
        Code.INTERNAL, "model 'm' is unloaded and runs no more", model, floats("input"));
  }

  @Test
  void givesEveryThreadTheSameAnswer() throws Exception {
    double[][] rows = new double[200][5];
    for (int i = 0; i < rows.length; i++) {
      for (int j = 0; j < 5; j++) {
        rows[i][j] = Math.sin(i * 5 + j) * 3;
      }
    }
    for (String file : List.of("x311_categorical.json", "l470_linear_tree.txt")) {
      LoadedModel model = recorded(file);
      ModelInferRequest many = TreeModelsTest.request(rows, true);
      ModelInferResponse expected = infer(model, many);
      try (ExecutorService threads = Executors.newFixedThreadPool(4)) {
        List<Callable<ModelInferResponse>> calls = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
          calls.add(() -> infer(model, many));
        }
        for (Future<ModelInferResponse> answer : threads.invokeAll(calls)) {
          assertEquals(expected, answer.get());
        }
      }
    }
  }

  @Test
  void guessesRatherTooMuchFromTheLengthOfTheFile() throws Exception {
    for (Path file : TreeModelsTest.models()) {
      long guess = runtime.guessSizeBytes(Files.size(file));
      long size = runtime.predictSizeBytes(file);
      assertTrue(guess >= size, file + ": guessed " + guess + ", is " + size);
    }
  }

  @Test
  void leavesTheHeapItsShare() throws Exception {
    Path file = TreeModelsTest.recorded().resolve("x311_binary.ubj");
    long bytes = runtime.predictSizeBytes(file);
    TreeRuntime small = new TreeRuntime(2 * bytes);
    LoadedModel first = small.load("a", "xgboost", file);
    LoadedModel second = small.load("b", "xgboost", file);
    ModelLoadException e =
        assertThrows(ModelLoadException.class, () -> small.load("c", "xgboost", file));
    assertEquals(Reason.OUT_OF_MEMORY, e.reason());
    first.close();
    first.close();
    LoadedModel third = small.load("c", "xgboost", file);
    assertThrows(ModelLoadException.class, () -> small.load("d", "xgboost", file));
    second.close();
    third.close();
  }

  @Test
  void findsTheModelInTheLayoutsInUse() throws Exception {
    Path json = TreeModelsTest.recorded().resolve("x311_binary.json");
    Path ubj = TreeModelsTest.recorded().resolve("x311_binary.ubj");
    Path txt = TreeModelsTest.recorded().resolve("l470_binary.txt");
    record Layout(String type, Path from, String to) {}
    for (Layout layout :
        List.of(
            new Layout("xgboost", json, "model.json"),
            new Layout("xgboost:2", ubj, "model.ubj"),
            new Layout("XGBoost", ubj, "model.bst"),
            new Layout("xgboost", json, "1/xgboost.json"),
            new Layout("lightgbm", txt, "model.txt"),
            new Layout("lightgbm", txt, "model.bst"),
            new Layout("lightgbm:4", txt, "churn.txt"))) {
      Path folder = Files.createTempDirectory(dir, "layout");
      Path file = folder.resolve(layout.to());
      Files.createDirectories(file.getParent());
      Files.copy(layout.from(), file);
      Files.writeString(folder.resolve("model-settings.json"), "{}");
      assertTrue(runtime.supports(layout.type()));
      LoadedModel model = runtime.load("m", layout.type(), folder);
      assertEquals(1, infer(model, floats("x")).getOutputs(0).getShape(0));
      assertEquals(runtime.predictSizeBytes(folder), model.sizeBytes());
    }
    assertFalse(runtime.supports("onnx"));
    assertFalse(runtime.supports("xgboosted"));
  }

  @Test
  void saysWhatIsMissingOrTooMuch() throws Exception {
    assertRefused(Reason.NOT_FOUND, "no such file or directory", "xgboost", dir.resolve("none"));
    assertRefused(Reason.NOT_FOUND, "the directory holds no file that ends in", "lightgbm", dir);
    Files.writeString(dir.resolve("a.json"), "{}");
    Files.writeString(dir.resolve("b.json"), "{}");
    assertRefused(Reason.BAD_MODEL, "the directory holds several models", "xgboost", dir);
    assertRefused(Reason.BAD_MODEL, "type 'onnx' is not for trees, expected xgboost", "onnx", dir);
  }

  @Test
  void refusesTheOldBinaryFormatWithTheRemedy() throws Exception {
    Path old = TreeModelsTest.recorded().resolve("x176_old.bst");
    assertRefused(Reason.BAD_MODEL, "load the file with XGBoost 3.0 or earlier", "xgboost", old);
  }

  @Test
  void refusesTreesWithVectorsInTheirLeaves() throws Exception {
    for (String file : List.of("x311_vector_leaf.json", "x311_vector_leaf.ubj")) {
      Path path = TreeModelsTest.recorded().resolve(file);
      assertRefused(Reason.BAD_MODEL, "multi_strategy=one_output_per_tree", "xgboost", path);
    }
  }

  @Test
  void saysThatATextIsNoModel() throws Exception {
    Path text = Files.writeString(dir.resolve("m.txt"), "booster", StandardCharsets.UTF_8);
    assertRefused(Reason.BAD_MODEL, "m.txt: line 1: expected 'tree'", "lightgbm", text);
    assertRefused(Reason.BAD_MODEL, "which begin with '{'", "xgboost", text);
  }

  private void assertRefused(Reason reason, String part, String type, Path path) {
    ModelLoadException e =
        assertThrows(ModelLoadException.class, () -> runtime.load("m", type, path));
    assertEquals(reason, e.reason(), e.getMessage());
    assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage());
  }
}
