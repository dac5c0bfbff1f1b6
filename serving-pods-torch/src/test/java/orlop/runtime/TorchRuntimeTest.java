package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.protobuf.ByteString;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferInputTensor;
import inference.ModelInferResponse;
import inference.ModelMetadataResponse;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.ServiceLoader;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Answers are those that PyTorch itself gave when the files were made (make_models.py). */
class TorchRuntimeTest {
  private final TorchRuntime runtime = new TorchRuntime();

  private static Path resource(String name) throws Exception {
    return Path.of(
        Objects.requireNonNull(TorchRuntimeTest.class.getResource("/torch/" + name), name).toURI());
  }

  private static JsonNode answers(String model) throws Exception {
    return new ObjectMapper().readTree(resource("answers.json").toFile()).get(model);
  }

  private LoadedModel load(String name) throws Exception {
    return runtime.load(name, "pytorch:1", resource(name + ".pt"));
  }

  private static InferInputTensor.Builder typed(String name, JsonNode tensor) {
    boolean real = tensor.get("datatype").asText().equals("torch.float32");
    InferInputTensor.Builder input =
        InferInputTensor.newBuilder().setName(name).setDatatype(real ? "FP32" : "INT64");
    tensor.get("shape").forEach(n -> input.addShape(n.asLong()));
    InferTensorContents.Builder contents = InferTensorContents.newBuilder();
    for (JsonNode number : tensor.get("data")) {
      if (real) {
        contents.addFp32Contents((float) number.asDouble());
      } else {
        contents.addInt64Contents(number.asLong());
      }
    }
    return input.setContents(contents);
  }

  private static void assertFloats(JsonNode expected, List<Float> actual) {
    assertEquals(expected.get("data").size(), actual.size());
    for (int i = 0; i < actual.size(); i++) {
      assertEquals(expected.get("data").get(i).asDouble(), actual.get(i), 1e-6);
    }
  }

  private static ModelInferRequest mlp() throws Exception {
    return ModelInferRequest.newBuilder()
        .setModelName("asked")
        .setId("7")
        .addInputs(typed("INPUT__0", answers("mlp").get("in").get(0)))
        .build();
  }

  @Test
  void isFoundByTheServiceLoaderAndTakesBothNamesOfItsType() {
    assertTrue(
        ServiceLoader.load(ModelRuntime.class).stream()
            .anyMatch(provider -> provider.type() == TorchRuntime.class));
    assertTrue(runtime.supports("pytorch"));
    assertTrue(runtime.supports("torchscript:2.7"));
    assertEquals(false, runtime.supports("onnx"));
  }

  @Test
  void answersAsPytorchDoes() throws Exception {
    try (LoadedModel model = load("mlp")) {
      ModelInferResponse answer = model.infer(mlp(), Cancellation.NEVER);
      assertEquals("asked", answer.getModelName());
      assertEquals("7", answer.getId());
      assertEquals("OUTPUT__0", answer.getOutputs(0).getName());
      assertEquals("FP32", answer.getOutputs(0).getDatatype());
      assertEquals(List.of(5L, 3L), answer.getOutputs(0).getShapeList());
      assertFloats(
          answers("mlp").get("out").get(0),
          answer.getOutputs(0).getContents().getFp32ContentsList());
    }
  }

  @Test
  void rawInGivesRawOut() throws Exception {
    try (LoadedModel model = load("mlp")) {
      JsonNode x = answers("mlp").get("in").get(0);
      ByteBuffer bytes = ByteBuffer.allocate(80).order(ByteOrder.LITTLE_ENDIAN);
      x.get("data").forEach(number -> bytes.putFloat((float) number.asDouble()));
      ModelInferResponse answer =
          model.infer(
              mlp().toBuilder()
                  .setInputs(0, typed("x", x).clearContents())
                  .addRawInputContents(ByteString.copyFrom(bytes.flip()))
                  .build(),
              Cancellation.NEVER);
      ByteBuffer out =
          answer.getRawOutputContents(0).asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
      List<Float> numbers = new ArrayList<>();
      while (out.hasRemaining()) {
        numbers.add(out.getFloat());
      }
      assertFloats(answers("mlp").get("out").get(0), numbers);
    }
  }

  @Test
  void argumentsStandInTheOrderOfTheirNumbers() throws Exception {
    JsonNode two = answers("two");
    try (LoadedModel model = load("two")) {
      ModelInferResponse answer =
          model.infer(
              ModelInferRequest.newBuilder()
                  .addInputs(typed("INPUT__1", two.get("in").get(1)))
                  .addInputs(typed("INPUT__0", two.get("in").get(0)))
                  .build(),
              Cancellation.NEVER);
      assertFloats(two.get("out").get(0), answer.getOutputs(0).getContents().getFp32ContentsList());
      assertEquals("INT64", answer.getOutputs(1).getDatatype());
      for (int i = 0; i < 6; i++) {
        assertEquals(
            two.get("out").get(1).get("data").get(i).asLong(),
            answer.getOutputs(1).getContents().getInt64Contents(i));
      }
    }
  }

  @Test
  void outputsOfADictionaryHaveItsNames() throws Exception {
    JsonNode named = answers("named");
    try (LoadedModel model = load("named")) {
      ModelInferRequest.Builder request =
          ModelInferRequest.newBuilder().addInputs(typed("x", named.get("in").get(0)));
      for (String name : List.of("largest", "sum")) {
        request.addOutputsBuilder().setName(name);
      }
      ModelInferResponse answer = model.infer(request.build(), Cancellation.NEVER);
      for (int i = 0; i < 2; i++) {
        String name = i == 0 ? "largest" : "sum";
        assertEquals(name, answer.getOutputs(i).getName());
        assertFloats(
            named.get("out").get(name), answer.getOutputs(i).getContents().getFp32ContentsList());
      }
      ModelInferRequest.Builder unknown =
          ModelInferRequest.newBuilder().addInputs(typed("x", named.get("in").get(0)));
      unknown.addOutputsBuilder().setName("mean");
      assertRefused(model, unknown.build(), "no output 'mean'");
    }
  }

  private static void assertRefused(LoadedModel model, ModelInferRequest request, String why) {
    InferenceException refused =
        assertThrows(InferenceException.class, () -> model.infer(request, Cancellation.NEVER));
    assertEquals(InferenceException.Code.INVALID_ARGUMENT, refused.code());
    assertTrue(String.valueOf(refused.getMessage()).contains(why), refused.getMessage());
  }

  @Test
  void whatDoesNotFitIsTheCallersMistake() throws Exception {
    JsonNode x = answers("mlp").get("in").get(0);
    try (LoadedModel model = load("mlp")) {
      assertRefused(
          model,
          mlp().toBuilder().setInputs(0, typed("x", x).setDatatype("UINT32")).build(),
          "UINT32");
      assertRefused(
          model, mlp().toBuilder().setInputs(0, typed("x", x).setShape(1, 5)).build(), "20");
      assertRefused(
          model,
          mlp().toBuilder().setInputs(0, typed("x", x).setShape(0, 4).setShape(1, 5)).build(),
          "shapes");
      assertRefused(
          model, mlp().toBuilder().setInputs(0, typed("INPUT__3", x)).build(), "argument 3");
      assertRefused(model, mlp().toBuilder().addInputs(typed("INPUT__0", x)).build(), "twice");
    }
  }

  private LoadedModel load(String name, String key) throws Exception {
    return runtime.load(name, "pytorch", resource(name + ".pt"), key, Beside.NOWHERE);
  }

  /** A key with such lists, in quotes that are easier to read. */
  private static String key(String inputs, String outputs) {
    return "{'storage_key':'s','orlop':{'minCopies':1,'inputs':[%s],'outputs':[%s]}}"
        .formatted(inputs, outputs)
        .replace('\'', '"');
  }

  private static final String TWO =
      key(
          "{'name':'x','datatype':'FP32','shape':[-1,3]},{'name':'n','datatype':'INT64'}",
          "{'name':'scaled','datatype':'FP32','shape':[-1,3]},{'name':'next','datatype':'INT64'}");

  @Test
  void metadataIsWhatTheKeyDeclares() throws Exception {
    try (LoadedModel model = load("two", TWO);
        LoadedModel open = load("two", "{\"orlop\":{\"warmUp\":1}}")) {
      ModelMetadataResponse told = model.metadata();
      assertEquals("pytorch_libtorch", told.getPlatform());
      assertEquals("x", told.getInputs(0).getName());
      assertEquals("FP32", told.getInputs(0).getDatatype());
      assertEquals(List.of(-1L, 3L), told.getInputs(0).getShapeList());
      assertEquals("n", told.getInputs(1).getName());
      assertEquals("next", told.getOutputs(1).getName());
      assertEquals("INT64", told.getOutputs(1).getDatatype());
      assertEquals(Map.of("orlop.any_rank", "n,next"), told.getPropertiesMap());
      assertEquals(0, open.metadata().getInputsCount());
      assertTrue(open.metadata().containsProperties("orlop.signature"));
    }
  }

  @Test
  void declaredNamesSayWhichArgumentAnInputIs() throws Exception {
    JsonNode two = answers("two");
    try (LoadedModel model = load("two", TWO)) {
      ModelInferRequest request =
          ModelInferRequest.newBuilder()
              .addInputs(typed("n", two.get("in").get(1)))
              .addInputs(typed("x", two.get("in").get(0)))
              .build();
      ModelInferResponse answer = model.infer(request, Cancellation.NEVER);
      assertEquals("scaled", answer.getOutputs(0).getName());
      assertFloats(two.get("out").get(0), answer.getOutputs(0).getContents().getFp32ContentsList());
      assertEquals("next", answer.getOutputs(1).getName());
      ModelInferRequest.Builder one = request.toBuilder();
      one.addOutputsBuilder().setName("next");
      ModelInferResponse next = model.infer(one.build(), Cancellation.NEVER);
      assertEquals(List.of(answer.getOutputs(1)), next.getOutputsList());

      InferInputTensor x = request.getInputs(1);
      assertRefused(
          model,
          request.toBuilder().setInputs(1, x.toBuilder().setName("INPUT__0")).build(),
          "no input 'INPUT__0', expected x FP32[-1,3], n INT64[...]");
      assertRefused(model, request.toBuilder().setInputs(0, x).build(), "given twice");
      assertRefused(model, request.toBuilder().removeInputs(0).build(), "1 inputs, expected x");
      assertRefused(
          model,
          request.toBuilder().setInputs(1, x.toBuilder().setShape(0, 3).setShape(1, 2)).build(),
          "shape [3,2], expected [-1,3]");
      assertRefused(
          model,
          request.toBuilder().setInputs(1, x.toBuilder().setDatatype("FP64")).build(),
          "datatype 'FP64', expected FP32");
      one.setOutputs(0, one.getOutputsBuilder(0).setName("OUTPUT__1"));
      assertRefused(model, one.build(), "no output 'OUTPUT__1'");
    }
  }

  @Test
  void declaredOutputsPickFromADictionaryAndAreHeldAgainstWhatComes() throws Exception {
    JsonNode named = answers("named");
    ModelInferRequest request =
        ModelInferRequest.newBuilder().addInputs(typed("x", named.get("in").get(0))).build();
    String x = "{'name':'x','datatype':'FP32','shape':[-1,-1]}";
    try (LoadedModel model = load("named", key(x, "{'name':'sum','datatype':'FP32'}"))) {
      ModelInferResponse answer = model.infer(request, Cancellation.NEVER);
      assertEquals(1, answer.getOutputsCount());
      assertFloats(
          named.get("out").get("sum"), answer.getOutputs(0).getContents().getFp32ContentsList());
    }
    for (String wrong :
        List.of(
            "{'name':'mean','datatype':'FP32'}",
            "{'name':'sum','datatype':'INT64'}",
            "{'name':'sum','datatype':'FP32','shape':[-1,1]}")) {
      try (LoadedModel model = load("named", key(x, wrong))) {
        InferenceException told =
            assertThrows(InferenceException.class, () -> model.infer(request, Cancellation.NEVER));
        assertEquals(InferenceException.Code.INTERNAL, told.code());
        assertTrue(String.valueOf(told.getMessage()).contains("key declares output"), wrong);
      }
    }
  }

  @Test
  void noTwoDeclaredOutputsAreTheSameResult() throws Exception {
    JsonNode two = answers("two");
    ModelInferRequest request =
        ModelInferRequest.newBuilder()
            .addInputs(typed("x", two.get("in").get(0)))
            .addInputs(typed("n", two.get("in").get(1)))
            .build();
    String inputs = "{'name':'x','datatype':'FP32'},{'name':'n','datatype':'INT64'}";
    // Of two results without names the first is no INT64, whatever the declared name says.
    String outputs = "{'name':'OUTPUT__1','datatype':'INT64'},{'name':'next','datatype':'INT64'}";
    try (LoadedModel model = load("two", key(inputs, outputs))) {
      InferenceException told =
          assertThrows(InferenceException.class, () -> model.infer(request, Cancellation.NEVER));
      assertEquals(InferenceException.Code.INTERNAL, told.code());
      assertTrue(
          String.valueOf(told.getMessage()).contains("key declares output OUTPUT__1"),
          told.getMessage());
    }
  }

  @Test
  void aKeyThatMakesNoSenseIsABadModelAndNamesWhatIsWrong() {
    String good = "{'name':'x','datatype':'FP32'}";
    Map<String, String> wrong =
        Map.of(
            key("", good),
            "orlop.inputs\" is []",
            key(good, "").replace("\"outputs\":[]", "\"outputs\":{}"),
            "orlop.outputs\" is {}",
            "{\"orlop\":{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\"}]}}",
            "orlop.outputs\" is missing",
            key(good + "," + good, good),
            "orlop.inputs[1].name\" is \"x\", expected each name once",
            key("{'name':'','datatype':'FP32'}", good),
            "orlop.inputs[0].name",
            key("{'name':'x','datatype':'float'}", good),
            "orlop.inputs[0].datatype\" is \"float\"",
            key("{'name':'x','datatype':'BYTES'}", good),
            "orlop.inputs[0].datatype",
            key(good, "{'name':'y','datatype':'FP32','shape':[-2]}"),
            "orlop.outputs[0].shape\" is [-2]",
            key(good, "{'name':'y','datatype':'FP32','shape':3}"),
            "orlop.outputs[0].shape");
    wrong.forEach(
        (key, why) -> {
          ModelLoadException bad =
              assertThrows(ModelLoadException.class, () -> load("mlp", key), key);
          assertEquals(ModelLoadException.Reason.BAD_MODEL, bad.reason(), key);
          assertTrue(String.valueOf(bad.getMessage()).contains(why), bad.getMessage());
        });
  }

  @Test
  void aFileThatIsNoTorchScriptIsABadModel(@TempDir Path directory) throws Exception {
    Path file = Files.writeString(directory.resolve("model.pt"), "no model");
    ModelLoadException bad =
        assertThrows(ModelLoadException.class, () -> runtime.load("bad", "pytorch", directory));
    assertEquals(ModelLoadException.Reason.BAD_MODEL, bad.reason(), bad.getMessage());
    Files.delete(file);
    ModelLoadException none =
        assertThrows(ModelLoadException.class, () -> runtime.load("none", "pytorch", directory));
    assertEquals(ModelLoadException.Reason.NOT_FOUND, none.reason(), none.getMessage());
  }

  @Test
  void manyThreadsMayInferWhileTheModelIsClosed() throws Exception {
    LoadedModel model = load("mlp");
    ModelInferRequest request = mlp();
    ModelInferResponse expected = model.infer(request, Cancellation.NEVER);
    try (var threads = Executors.newFixedThreadPool(4)) {
      List<Future<Integer>> runs = new ArrayList<>();
      for (int t = 0; t < 4; t++) {
        runs.add(
            threads.submit(
                () -> {
                  int answered = 0;
                  try {
                    for (; answered < 1_000_000; answered++) {
                      assertEquals(expected, model.infer(request, Cancellation.NEVER));
                    }
                  } catch (InferenceException e) {
                    assertEquals(InferenceException.Code.INTERNAL, e.code());
                  }
                  return answered;
                }));
      }
      ModelInferResponse beside = model.infer(request, Cancellation.NEVER);
      assertEquals(expected, beside);
      model.close();
      for (Future<Integer> run : runs) {
        assertTrue(run.get() < 1_000_000);
      }
    }
  }
}
