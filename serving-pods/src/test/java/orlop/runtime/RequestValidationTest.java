package orlop.runtime;

import static orlop.runtime.TensorRoundTripTest.output;
import static orlop.runtime.TensorRoundTripTest.twoInputs;

import com.google.protobuf.ByteString;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import orlop.runtime.InferenceException.Code;

/** Every request that does not fit the model is refused in words that say how to mend it. */
class RequestValidationTest extends RuntimeTestBase {

  private void refuses(byte[] model, ModelInferRequest request, String text) throws Exception {
    try (LoadedModel loaded = load(model)) {
      assertRefused(Code.INVALID_ARGUMENT, "model 'm': " + text, loaded, request);
    }
  }

  @Test
  void namesTheInputsWhenOneIsUnknown() throws Exception {
    refuses(
        OnnxModels.twoInputs(),
        twoInputs().addInputs(input("z", "FP32", 1)).build(),
        "no input 'z', expected x0 FP32[-1,2], x1 INT64[-1]");
  }

  @Test
  void namesTheInputThatIsMissing() throws Exception {
    refuses(
        OnnxModels.twoInputs(),
        twoInputs().removeInputs(1).build(),
        "input 'x1' is missing, expected x0 FP32[-1,2], x1 INT64[-1], got [x0]");
    refuses(
        OnnxModels.linear(0, 1),
        ModelInferRequest.getDefaultInstance(),
        "input 'x' is missing, expected x FP32[-1,1], got []");
  }

  @Test
  void refusesAnInputGivenTwice() throws Exception {
    refuses(
        OnnxModels.twoInputs(),
        twoInputs().addInputs(twoInputs().getInputs(0)).build(),
        "input 'x0': given twice, expected once");
  }

  @Test
  void namesBothDatatypesWhenTheyDiffer() throws Exception {
    refuses(
        OnnxModels.linear(0, 1, 2),
        typed(input("x", "FP64", 1, 2), floats(1, 2)),
        "input 'x': datatype 'FP64', expected FP32");
    refuses(
        OnnxModels.linear(0, 1, 2),
        typed(input("x", "FLOAT", 1, 2), floats(1, 2)),
        "input 'x': datatype 'FLOAT' (no V2 datatype), expected FP32");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "1,3 | shape [1,3], expected [-1,2]",
        "2 | shape [2], expected [-1,2]",
        "1,1,2 | shape [1,1,2], expected [-1,2]",
        "-1,2 | shape [-1,2] has a negative dimension, expected [-1,2] with a real size for each -1",
        "4611686018427387904,2 | shape [4611686018427387904,2] is too large, expected at most"
            + " 2147483647 bytes of FP32",
        "268435456,2 | shape [268435456,2] is too large, expected at most 2147483647 bytes of FP32",
        "3,2 | 2 elements, expected 6 for FP32[3,2]",
      })
  void namesBothShapesWhenTheyDiffer(String shape, String text) throws Exception {
    long[] dims = java.util.Arrays.stream(shape.split(",")).mapToLong(Long::parseLong).toArray();
    refuses(
        OnnxModels.linear(0, 1, 2),
        typed(input("x", "FP32", dims), floats(1, 2)),
        "input 'x': " + text);
  }

  @Test
  void refusesAHugeDimensionBesideAnEmptyOne() throws Exception {
    refuses(
        OnnxModels.identity("FP32", -1, -1, -1),
        raw(input("x", "FP32", 0, Long.MAX_VALUE, Long.MAX_VALUE)),
        "input 'x': shape [0,9223372036854775807,9223372036854775807] is too large, expected at"
            + " most 2147483647 bytes of FP32");
  }

  @Test
  void comparesRawLengthWithTheShape() throws Exception {
    refuses(
        OnnxModels.linear(0, 1, 2),
        raw(input("x", "FP32", 1, 2), new byte[7]),
        "input 'x': raw contents of 7 bytes, expected 8 for FP32[1,2]");
    refuses(
        OnnxModels.identity("BF16", -1),
        raw(input("x", "BF16", 3), new byte[8]),
        "input 'x': raw contents of 8 bytes, expected 6 for BF16[3]");
  }

  @Test
  void wantsRawContentsForAllInputsOrNone() throws Exception {
    refuses(
        OnnxModels.twoInputs(),
        twoInputs().addRawInputContents(ByteString.EMPTY).build(),
        "raw_input_contents has 1 entries, expected one for each of the 2 inputs");
    refuses(
        OnnxModels.linear(0, 1, 2),
        typed(input("x", "FP32", 1, 2), floats(1, 2)).toBuilder()
            .addRawInputContents(ByteString.copyFrom(new byte[8]))
            .build(),
        "input 'x': 2 elements in contents.fp32_contents beside raw_input_contents, expected one of"
            + " the two");
  }

  @Test
  void wantsTypedContentsInTheirField() throws Exception {
    refuses(
        OnnxModels.identity("FP64", -1),
        typed(input("x", "FP64", 2), floats(1, 2)),
        "input 'x': 2 elements in contents.fp32_contents, expected FP64 in"
            + " contents.fp64_contents");
    refuses(
        OnnxModels.identity("FP16", -1),
        typed(input("x", "FP16", 2), floats(1, 2)),
        "input 'x': typed contents, expected raw_input_contents: V2 has no field for FP16");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "INT8 | 128 | 128, expected -128 to 127",
        "INT8 | -129 | -129, expected -128 to 127",
        "INT16 | 32768 | 32768, expected -32768 to 32767",
        "UINT8 | 256 | 256, expected 0 to 255",
        "UINT8 | -1 | 4294967295, expected 0 to 255",
        "UINT16 | 65536 | 65536, expected 0 to 65535",
      })
  void refusesNumbersThatTheDatatypeCannotHold(String datatype, int number, String text)
      throws Exception {
    InferTensorContents.Builder contents = InferTensorContents.newBuilder();
    if (datatype.startsWith("U")) {
      contents.addUintContents(1).addUintContents(number);
    } else {
      contents.addIntContents(1).addIntContents(number);
    }
    refuses(
        OnnxModels.identity(datatype, -1),
        typed(input("x", datatype, 2), contents.build()),
        "input 'x': element 1 is " + text + " for " + datatype);
  }

  @Test
  void refusesBooleansThatAreNeitherZeroNorOne() throws Exception {
    refuses(
        OnnxModels.identity("BOOL", -1),
        raw(input("x", "BOOL", 3), new byte[] {0, 1, (byte) 255}),
        "input 'x': byte 255 at index 2, expected 0 or 1 for BOOL");
  }

  @Test
  void refusesRawStringsWhoseLengthsDoNotAddUp() throws Exception {
    byte[] model = OnnxModels.identity("BYTES", -1);
    refuses(
        model,
        raw(input("x", "BYTES", 1), new byte[] {1, 0, 0, 0, 'a', 9, 9}),
        "input 'x': raw contents end inside the length of element 1: 2 bytes left, expected 4");
    refuses(
        model,
        raw(input("x", "BYTES", 1), new byte[] {5, 0, 0, 0, 'a'}),
        "input 'x': element 0 says to have 5 bytes, expected at most the 1 that are left");
    refuses(
        model,
        raw(input("x", "BYTES", 1), new byte[] {-1, -1, -1, -1, 'a'}),
        "input 'x': element 0 says to have 4294967295 bytes, expected at most the 1 that are left");
    refuses(
        model,
        raw(input("x", "BYTES", 3), new byte[] {1, 0, 0, 0, 'a', 0, 0, 0, 0}),
        "input 'x': 2 elements, expected 3 for BYTES[3]");
  }

  @Test
  void namesTheOutputsWhenAnUnknownOneIsRequested() throws Exception {
    refuses(
        OnnxModels.twoInputs(),
        twoInputs().addOutputs(output("y9")).build(),
        "no output 'y9', expected of y0 FP32[-1,2], y1 INT64[-1], y2 FP16[-1,2]");
    refuses(
        OnnxModels.twoInputs(),
        twoInputs().addOutputs(output("y0")).addOutputs(output("y0")).build(),
        "output 'y0' is requested twice, expected once");
  }

  @Test
  void explainsWhyASequenceOutputCannotBeHad() throws Exception {
    refuses(
        OnnxModels.zipMap(true),
        typed(input("x", "FP32", 1, 2), floats(0, 1)).toBuilder()
            .addOutputs(output("probabilities"))
            .build(),
        "output 'probabilities' is a sequence of a map from INT64 to FLOAT, which V2 cannot carry;"
            + " its other outputs are y FP32[-1,2]");
  }
}
