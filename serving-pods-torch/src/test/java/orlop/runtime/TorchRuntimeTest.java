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
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
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
