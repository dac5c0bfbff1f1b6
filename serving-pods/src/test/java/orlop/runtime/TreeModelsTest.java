package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.protobuf.ByteString;
import inference.InferParameter;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferRequestedOutputTensor;
import inference.ModelInferResponse;
import inference.ModelInferResponse.InferOutputTensor;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every recorded model against what its own library predicted: margins bit for bit, predictions as
 * near as two implementations of exp come. {@code generate.py} beside the models recorded them.
 */
class TreeModelsTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String EXPECTED = ".expected.json";

  private final TreeRuntime runtime = new TreeRuntime();

  static Path recorded() throws URISyntaxException {
    return Path.of(TreeModelsTest.class.getResource("trees").toURI());
  }

  /** Model files whose library gave predictions. */
  static List<Path> models() throws IOException, URISyntaxException {
    try (Stream<Path> files = Files.list(recorded())) {
      return files
          .filter(path -> !path.toString().endsWith(EXPECTED))
          .filter(path -> !path.toString().contains("vector_leaf"))
          .filter(path -> path.toString().matches(".*\\.(json|ubj|txt)"))
          .sorted()
          .toList();
    }
  }

  @ParameterizedTest
  @MethodSource("models")
  void predictsWhatTheLibraryPredicted(Path file) throws Exception {
    String name = file.getFileName().toString();
    String format = name.startsWith("x") ? "xgboost" : "lightgbm";
    JsonNode expected =
        JSON.readTree(
            file.resolveSibling(name.substring(0, name.lastIndexOf('.')) + EXPECTED).toFile());
    try (LoadedModel model = runtime.load("m", format, file)) {
      assertEquals(runtime.predictSizeBytes(file), model.sizeBytes());
      boolean wide = format.equals("lightgbm");
      double[][] inputs = rows(expected.get("inputs"));
      ModelInferRequest request = request(inputs, wide);
      ModelInferResponse answer =
          model.infer(
              request.toBuilder()
                  .addOutputs(InferRequestedOutputTensor.newBuilder().setName("margin"))
                  .addOutputs(InferRequestedOutputTensor.newBuilder().setName("predict"))
                  .build(),
              Cancellation.NEVER);
      assertEquals(shape(expected, inputs.length), answer.getOutputs(1).getShapeList());
      assertClose(expected.get("margin"), numbers(answer, 0), 0, wide, name + " margin");
      double tolerance = wide ? 1e-14 : 1e-6;
      assertClose(expected.get("predict"), numbers(answer, 1), tolerance, wide, name + " predict");
      for (JsonNode range : expected.path("ranges")) {
        ModelInferRequest part =
            request.toBuilder()
                .putParameters("iteration_begin", number(range.get("begin").asLong()))
                .putParameters("iteration_end", number(range.get("end").asLong()))
                .build();
        ModelInferResponse some = model.infer(part, Cancellation.NEVER);
        assertClose(
            range.get("predict"), numbers(some, 0), tolerance, wide, name + " range " + range);
      }
      // One row alone takes the same way as a block of them.
      for (int row = 0; row < inputs.length; row += 7) {
        ModelInferRequest one = request(new double[][] {inputs[row]}, wide);
        double[] alone = numbers(model.infer(one, Cancellation.NEVER), 0);
        double[] among = numbers(answer, 1);
        for (int i = 0; i < alone.length; i++) {
          assertEquals(among[row * alone.length + i], alone[i], name + " row " + row);
        }
      }
    }
  }

  private static InferParameter number(long value) {
    return InferParameter.newBuilder().setInt64Param(value).build();
  }

  private static List<Long> shape(JsonNode expected, int rows) {
    JsonNode rest = expected.get("shape");
    return rest.isEmpty() ? List.of((long) rows) : List.of((long) rows, rest.get(0).asLong());
  }

  static double[][] rows(JsonNode array) {
    double[][] rows = new double[array.size()][];
    for (int i = 0; i < rows.length; i++) {
      rows[i] = new double[array.get(i).size()];
      for (int j = 0; j < rows[i].length; j++) {
        JsonNode value = array.get(i).get(j);
        // Infinities stand there as text.
        rows[i][j] = value.isNull() ? Double.NaN : Double.parseDouble(value.asText());
      }
    }
    return rows;
  }

  static ModelInferRequest request(double[][] rows, boolean wide) {
    int columns = rows[0].length;
    ByteBuffer bytes =
        ByteBuffer.allocate(rows.length * columns * (wide ? 8 : 4)).order(ByteOrder.LITTLE_ENDIAN);
    for (double[] row : rows) {
      for (double value : row) {
        if (wide) {
          bytes.putDouble(value);
        } else {
          bytes.putFloat((float) value);
        }
      }
    }
    return ModelInferRequest.newBuilder()
        .setModelName("m")
        .addInputs(RuntimeTestBase.input("input", wide ? "FP64" : "FP32", rows.length, columns))
        .addRawInputContents(ByteString.copyFrom(bytes.flip()))
        .build();
  }

  static double[] numbers(ModelInferResponse answer, int output) {
    InferOutputTensor tensor = answer.getOutputs(output);
    ByteBuffer bytes =
        answer.getRawOutputContents(output).asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    boolean single = tensor.getDatatype().equals("FP32");
    double[] numbers = new double[bytes.remaining() / (single ? 4 : 8)];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = single ? bytes.getFloat() : bytes.getDouble();
    }
    return numbers;
  }

  private static void assertClose(
      JsonNode expected, double[] actual, double tolerance, boolean wide, String what) {
    double[][] rows = rows(expected);
    int at = 0;
    for (int row = 0; row < rows.length; row++) {
      for (double recorded : rows[row]) {
        double value = wide ? recorded : (float) recorded;
        double difference = Math.abs(value - actual[at]);
        assertTrue(
            difference <= tolerance * Math.abs(value) || Double.compare(value, actual[at]) == 0,
            what + ", row " + row + ": expected " + value + ", was " + actual[at]);
        at++;
      }
    }
    assertEquals(at, actual.length, what);
  }
}
