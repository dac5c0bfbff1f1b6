package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferRequestedOutputTensor;
import inference.ModelInferResponse;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.EnumSource.Mode;

/**
 * What goes into an identity model comes out bit for bit, for each datatype, raw and typed. The
 * numbers are the extremes of each type and noise.
 */
class TensorRoundTripTest extends RuntimeTestBase {
  private static final int ELEMENTS = 60;

  @ParameterizedTest
  @EnumSource(value = TensorType.class, mode = Mode.EXCLUDE, names = "BYTES")
  void returnsRawNumbersBitForBit(TensorType type) throws Exception {
    byte[] bytes = noise(type);
    try (LoadedModel model = load(OnnxModels.identity(type.name(), -1, 20))) {
      ModelInferResponse response = infer(model, raw(input("x", type.name(), 3, 20), bytes));
      assertArrayEquals(bytes, response.getRawOutputContents(0).toByteArray());
      assertFalse(response.getOutputs(0).hasContents());
      assertEquals(type.name(), response.getOutputs(0).getDatatype());
      assertEquals(List.of(3L, 20L), response.getOutputs(0).getShapeList());
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = TensorType.class,
      mode = Mode.EXCLUDE,
      names = {"BYTES", "FP16", "BF16"})
  void returnsTypedNumbersBitForBit(TensorType type) throws Exception {
    InferTensorContents contents =
        TypedContents.read(type, ByteBuffer.wrap(noise(type)).order(ByteOrder.LITTLE_ENDIAN));
    try (LoadedModel model = load(OnnxModels.identity(type.name(), -1, 20))) {
      ModelInferResponse response = infer(model, typed(input("x", type.name(), 3, 20), contents));
      assertEquals(contents.toByteString(), response.getOutputs(0).getContents().toByteString());
      assertEquals(0, response.getRawOutputContentsCount());
    }
  }

  @Test
  void readsTypedNumbersAsTheProtocolSaysAndNotOnlyAsItWritesThem() throws Exception {
    // The round trip alone would hold if both ways were wrong alike, so one way is checked here.
    InferTensorContents extremes =
        InferTensorContents.newBuilder().addUintContents(0).addUintContents(-1).build();
    try (LoadedModel model = load(OnnxModels.cast("UINT32", "FP64", 2))) {
      ModelInferResponse response = infer(model, typed(input("x", "UINT32", 2), extremes));
      assertEquals(
          List.of(0.0, 4294967295.0), response.getOutputs(0).getContents().getFp64ContentsList());
    }
    InferTensorContents half = InferTensorContents.newBuilder().addUintContents(65535).build();
    try (LoadedModel model = load(OnnxModels.cast("UINT16", "INT64", 1))) {
      ModelInferResponse response = infer(model, typed(input("x", "UINT16", 1), half));
      assertEquals(List.of(65535L), response.getOutputs(0).getContents().getInt64ContentsList());
    }
    InferTensorContents most = InferTensorContents.newBuilder().addUint64Contents(-1L).build();
    try (LoadedModel model = load(OnnxModels.cast("UINT64", "FP64", 1))) {
      ModelInferResponse response = infer(model, typed(input("x", "UINT64", 1), most));
      assertEquals(0x1p64, response.getOutputs(0).getContents().getFp64Contents(0));
    }
  }

  @Test
  void returnsByteStringsOfAnyContentBitForBit() throws Exception {
    List<ByteString> elements =
        List.of(
            ByteString.EMPTY,
            ByteString.copyFromUtf8("plain"),
            ByteString.copyFromUtf8("Käse 日本 😀"),
            ByteString.copyFrom(new byte[] {0, 1, 0, (byte) 0xff, (byte) 0xfe}),
            ByteString.copyFrom(new byte[100_000]));
    InferTensorContents contents =
        InferTensorContents.newBuilder().addAllBytesContents(elements).build();
    try (LoadedModel model = load(OnnxModels.identity("BYTES", -1))) {
      ModelInferResponse response =
          infer(model, typed(input("x", "BYTES", elements.size()), contents));
      assertEquals(elements, response.getOutputs(0).getContents().getBytesContentsList());

      byte[] prefixed = prefixed(elements);
      response = infer(model, raw(input("x", "BYTES", elements.size()), prefixed));
      assertArrayEquals(prefixed, response.getRawOutputContents(0).toByteArray());
    }
  }

  @Test
  void givesTheModelTheVeryBytesOfAString() throws Exception {
    // A cast parses the text inside the engine, so the engine must see what was sent.
    InferTensorContents contents =
        InferTensorContents.newBuilder()
            .addBytesContents(ByteString.copyFromUtf8("1.5"))
            .addBytesContents(ByteString.copyFromUtf8("-250"))
            .build();
    try (LoadedModel model = load(OnnxModels.cast("BYTES", "FP32", -1))) {
      ModelInferResponse response = infer(model, typed(input("x", "BYTES", 2), contents));
      assertEquals(floats(1.5f, -250f), response.getOutputs(0).getContents());
    }
  }

  @Test
  void usesRawContentsInNativeMemoryWhetherAlignedOrNot() throws Exception {
    try (LoadedModel model = load(OnnxModels.linear(1, 10, 100))) {
      for (int offset : new int[] {0, 1, 4, 7}) {
        ByteBuffer direct = ByteBuffer.allocateDirect(64).order(ByteOrder.LITTLE_ENDIAN);
        direct.putFloat(offset, 2f).putFloat(offset + 4, 3f);
        ByteString bytes = UnsafeByteOperations.unsafeWrap(direct.slice(offset, 8));
        ModelInferRequest request =
            ModelInferRequest.newBuilder()
                .addInputs(input("x", "FP32", 1, 2))
                .addRawInputContents(bytes)
                .build();
        assertArrayEquals(
            floatBytes(321f), infer(model, request).getRawOutputContents(0).toByteArray());
      }
    }
  }

  @Test
  void takesRawContentsThatArriveInPieces() throws Exception {
    byte[] bytes = floatBytes(2f, 3f);
    ByteString rope = ByteString.copyFrom(bytes, 0, 3);
    for (int i = 3; i < bytes.length; i++) {
      rope = rope.concat(ByteString.copyFrom(bytes, i, 1)).concat(ByteString.EMPTY);
    }
    try (LoadedModel model = load(OnnxModels.linear(1, 10, 100))) {
      ModelInferRequest request =
          ModelInferRequest.newBuilder()
              .addInputs(input("x", "FP32", 1, 2))
              .addRawInputContents(rope)
              .build();
      assertArrayEquals(
          floatBytes(321f), infer(model, request).getRawOutputContents(0).toByteArray());
    }
  }

  @ParameterizedTest
  @EnumSource(TensorType.class)
  void answersABatchOfZeroWithABatchOfZero(TensorType type) throws Exception {
    try (LoadedModel model = load(OnnxModels.identity(type.name(), -1, 4))) {
      ModelInferResponse response = infer(model, raw(input("x", type.name(), 0, 4)));
      assertEquals(List.of(0L, 4L), response.getOutputs(0).getShapeList());
      assertEquals(ByteString.EMPTY, response.getRawOutputContents(0));
    }
  }

  @Test
  void answersATypedBatchOfZero() throws Exception {
    try (LoadedModel model = load(OnnxModels.linear(0, 1, 2))) {
      ModelInferResponse response = infer(model, typed(input("x", "FP32", 0, 2), floats()));
      assertEquals(List.of(0L, 1L), response.getOutputs(0).getShapeList());
      assertEquals(0, response.getOutputs(0).getContents().getFp32ContentsCount());
    }
  }

  @ParameterizedTest
  @EnumSource(value = TensorType.class, mode = Mode.EXCLUDE, names = "BYTES")
  void takesAndReturnsScalars(TensorType type) throws Exception {
    byte[] bytes = new byte[type.width];
    bytes[0] = 1;
    try (LoadedModel model = load(OnnxModels.identity(type.name()))) {
      ModelInferResponse response = infer(model, raw(input("x", type.name()), bytes));
      assertEquals(List.of(), response.getOutputs(0).getShapeList());
      assertArrayEquals(bytes, response.getRawOutputContents(0).toByteArray());
    }
  }

  @Test
  void takesAndReturnsAScalarString() throws Exception {
    InferTensorContents word =
        InferTensorContents.newBuilder().addBytesContents(ByteString.copyFromUtf8("hi")).build();
    try (LoadedModel model = load(OnnxModels.identity("BYTES"))) {
      ModelInferResponse response = infer(model, typed(input("x", "BYTES"), word));
      assertEquals(List.of(), response.getOutputs(0).getShapeList());
      assertEquals(word, response.getOutputs(0).getContents());
    }
  }

  @Test
  void reducesToAScalar() throws Exception {
    try (LoadedModel model = load(OnnxModels.sum())) {
      ModelInferResponse response = infer(model, typed(input("x", "FP32", 3), floats(1, 2, 3.5f)));
      assertEquals(List.of(), response.getOutputs(0).getShapeList());
      assertEquals(floats(6.5f), response.getOutputs(0).getContents());
    }
  }

  @Test
  void takesAnyRankWhereTheModelLeavesItOpen() throws Exception {
    try (LoadedModel model = load(OnnxModels.identityOfAnyRank("FP32"))) {
      assertEquals("x,y", model.metadata().getPropertiesOrThrow("orlop.any_rank"));
      for (long[] shape : new long[][] {{}, {1}, {1, 1, 1}}) {
        ModelInferResponse response = infer(model, typed(input("x", "FP32", shape), floats(4)));
        assertEquals(shape.length, response.getOutputs(0).getShapeCount());
      }
    }
  }

  @Test
  void runsALargeBatch() throws Exception {
    int rows = 200_000;
    float[] numbers = new float[2 * rows];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = i;
    }
    try (LoadedModel model = load(OnnxModels.linear(0, 1, 1))) {
      ModelInferResponse response =
          infer(model, raw(input("x", "FP32", rows, 2), floatBytes(numbers)));
      ByteBuffer sums =
          response.getRawOutputContents(0).asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
      assertEquals(4 * rows, sums.remaining());
      for (int row = 0; row < rows; row++) {
        assertEquals(numbers[2 * row] + numbers[2 * row + 1], sums.getFloat(4 * row));
      }
    }
  }

  @Test
  void returnsRequestedOutputsOnlyAndInTheOrderAsked() throws Exception {
    try (LoadedModel model = load(OnnxModels.twoInputs())) {
      ModelInferRequest request =
          twoInputs().addOutputs(output("y1")).addOutputs(output("y0")).build();
      ModelInferResponse response = infer(model, request);
      assertEquals("y1", response.getOutputs(0).getName());
      assertEquals(List.of(7L), response.getOutputs(0).getContents().getInt64ContentsList());
      assertEquals("y0", response.getOutputs(1).getName());
      assertEquals(floats(1, 2), response.getOutputs(1).getContents());
      assertEquals(2, response.getOutputsCount());
      assertEquals("request-1", response.getId());
      assertEquals("m", response.getModelName());
      assertEquals("3", response.getModelVersion());
    }
  }

  @Test
  void answersAllRawWhenOneOutputHasNoTypedForm() throws Exception {
    try (LoadedModel model = load(OnnxModels.twoInputs())) {
      ModelInferResponse response = infer(model, twoInputs().build());
      assertEquals(3, response.getRawOutputContentsCount());
      assertArrayEquals(floatBytes(1, 2), response.getRawOutputContents(0).toByteArray());
      // 1 and 2 in half precision.
      assertArrayEquals(
          new byte[] {0, 0x3c, 0, 0x40}, response.getRawOutputContents(2).toByteArray());
      assertTrue(response.getOutputsList().stream().noneMatch(o -> o.hasContents()));
    }
  }

  static ModelInferRequest.Builder twoInputs() {
    return ModelInferRequest.newBuilder()
        .setModelName("m")
        .setModelVersion("3")
        .setId("request-1")
        .addInputs(input("x0", "FP32", 1, 2).setContents(floats(1, 2)))
        .addInputs(
            input("x1", "INT64", 1)
                .setContents(InferTensorContents.newBuilder().addInt64Contents(7)));
  }

  static InferRequestedOutputTensor output(String name) {
    return InferRequestedOutputTensor.newBuilder().setName(name).build();
  }

  static byte[] prefixed(List<ByteString> elements) {
    ByteString all =
        ByteString.copyFrom(
            elements.stream()
                .flatMap(
                    element ->
                        Stream.of(
                            ByteString.copyFrom(
                                ByteBuffer.allocate(4)
                                    .order(ByteOrder.LITTLE_ENDIAN)
                                    .putInt(0, element.size())),
                            element))
                .toList());
    return all.toByteArray();
  }

  private static byte[] noise(TensorType type) {
    byte[] bytes = new byte[ELEMENTS * type.width];
    new Random(type.name().getBytes(StandardCharsets.UTF_8).length).nextBytes(bytes);
    if (type == TensorType.BOOL) {
      for (int i = 0; i < bytes.length; i++) {
        bytes[i] &= 1;
      }
      return bytes;
    }
    // The extremes of each integer type, and among floats infinities and NaNs with a payload.
    for (int i = 0; i < type.width; i++) {
      bytes[i] = 0;
      bytes[type.width + i] = (byte) 0xff;
      bytes[2 * type.width + i] = (byte) (i + 1 == type.width ? 0x7f : 0xff);
      bytes[3 * type.width + i] = (byte) (i + 1 == type.width ? 0x80 : 0);
    }
    return bytes;
  }
}
