package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import inference.InferParameter;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferInputTensor;
import inference.ModelInferRequest.InferRequestedOutputTensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** What the reader of encoded requests says yes to is what protobuf reads, on noise too. */
class EncodedRequestTest {
  private static final int ROUNDS = 40_000;
  private static final int MUTATIONS = 4;

  private final EncodedRequest request = new EncodedRequest();

  @Test
  void readsWhatProtobufReadsOrSaysNo() {
    Random random = new Random(7);
    int plain = 0;
    int mutatedPlain = 0;
    for (int round = 0; round < ROUNDS; round++) {
      ModelInferRequest.Builder made = plainRequest(random);
      byte[] bytes = made.build().toByteArray();
      assertTrue(read(bytes), () -> made.build().toString());
      requireSame(bytes, round);
      plain++;
      byte[] odd = random.nextInt(4) == 0 ? oddOf(made, random).build().toByteArray() : bytes;
      for (int i = 0; i < MUTATIONS; i++) {
        byte[] mutated = mutated(odd, random);
        if (read(mutated)) {
          requireSame(mutated, round);
          mutatedPlain++;
        }
      }
    }
    assertEquals(ROUNDS, plain);
    assertTrue(mutatedPlain > ROUNDS / 10, "only " + mutatedPlain + " mutations were still plain");
  }

  @Test
  void leavesToProtobufWhatIsNotPlain() {
    ModelInferRequest.Builder plain =
        ModelInferRequest.newBuilder()
            .setModelName("m")
            .addInputs(InferInputTensor.newBuilder().setName("x").setDatatype("FP32").addShape(1))
            .addRawInputContents(ByteString.copyFrom(new byte[4]));
    assertTrue(read(plain.build().toByteArray()));
    assertFalse(read(plain.clone().setModelVersion("1").build().toByteArray()), "a version");
    assertFalse(read(plain.clone().setId("é").build().toByteArray()), "an id beyond ASCII");
    assertFalse(read(plain.clone().clearRawInputContents().build().toByteArray()), "no contents");
    ModelInferRequest.Builder typed = plain.clone();
    typed.getInputsBuilder(0).setContents(InferTensorContents.newBuilder().addFp32Contents(1));
    assertFalse(read(typed.build().toByteArray()), "typed contents");
    InferParameter yes = InferParameter.newBuilder().setBoolParam(true).build();
    assertFalse(read(plain.clone().putParameters("p", yes).build().toByteArray()), "a parameter");
    assertFalse(request.read(ByteBuffer.wrap(plain.build().toByteArray())), "heap memory");
    assertFalse(read(new byte[0]), "nothing at all");
  }

  private boolean read(byte[] bytes) {
    ByteBuffer direct = ByteBuffer.allocateDirect(bytes.length + 3);
    direct.put(3, bytes);
    return request.read(direct.position(3));
  }

  private void requireSame(byte[] bytes, int round) {
    ModelInferRequest expected;
    try {
      expected = ModelInferRequest.parseFrom(bytes);
    } catch (InvalidProtocolBufferException e) {
      throw new AssertionError("protobuf refuses what was read in round " + round, e);
    }
    assertEquals("", expected.getModelVersion());
    assertEquals(0, expected.getParametersCount());
    assertTrue(expected.getUnknownFields().asMap().isEmpty());
    assertEquals(expected.getId(), request.id());
    assertEquals(expected.getInputsCount(), request.inputNames.count());
    assertEquals(expected.getRawInputContentsCount(), request.raws.count());
    for (int i = 0; i < expected.getInputsCount(); i++) {
      InferInputTensor input = expected.getInputs(i);
      assertEquals(0, input.getParametersCount());
      assertEquals(InferTensorContents.getDefaultInstance(), input.getContents());
      assertTrue(request.holds(request.inputNames, i, input.getNameBytes().toByteArray()));
      assertTrue(request.holds(request.datatypes, i, input.getDatatypeBytes().toByteArray()));
      assertEquals(
          input.getShapeList(),
          Arrays.stream(request.dimensions(), request.shapes.from(i), request.shapes.to(i))
              .boxed()
              .toList());
      MemorySegment raw = request.message().asSlice(request.raws.from(i), request.raws.bytes(i));
      assertArrayEquals(
          expected.getRawInputContents(i).toByteArray(), raw.toArray(ValueLayout.JAVA_BYTE));
    }
    assertEquals(expected.getOutputsCount(), request.outputNames.count());
    for (int i = 0; i < expected.getOutputsCount(); i++) {
      assertEquals(0, expected.getOutputs(i).getParametersCount());
      assertTrue(
          request.holds(
              request.outputNames, i, expected.getOutputs(i).getNameBytes().toByteArray()));
    }
  }

  static ModelInferRequest.Builder plainRequest(Random random) {
    ModelInferRequest.Builder made = ModelInferRequest.newBuilder().setModelName(text(random));
    if (random.nextBoolean()) {
      made.setId(text(random));
    }
    int inputs = 1 + random.nextInt(4);
    for (int i = 0; i < inputs; i++) {
      InferInputTensor.Builder input =
          InferInputTensor.newBuilder().setName(text(random)).setDatatype(text(random));
      for (int d = random.nextInt(5); d > 0; d--) {
        input.addShape(random.nextLong() >>> random.nextInt(1, 64));
      }
      if (random.nextInt(8) == 0) {
        input.setContents(InferTensorContents.getDefaultInstance());
      }
      byte[] raw = new byte[random.nextInt(200)];
      random.nextBytes(raw);
      made.addInputs(input).addRawInputContents(ByteString.copyFrom(raw));
    }
    for (int i = random.nextInt(3); i > 0; i--) {
      made.addOutputs(InferRequestedOutputTensor.newBuilder().setName(text(random)));
    }
    return made;
  }

  /** With something in it that is not plain. */
  private static ModelInferRequest.Builder oddOf(ModelInferRequest.Builder made, Random random) {
    ModelInferRequest.Builder odd = made.clone();
    InferParameter parameter = InferParameter.newBuilder().setInt64Param(random.nextLong()).build();
    switch (random.nextInt(6)) {
      case 0 -> odd.setModelVersion("1");
      case 1 -> odd.putParameters("p", parameter);
      case 2 -> odd.getInputsBuilder(0).putParameters("p", parameter);
      case 3 -> odd.getInputsBuilder(0).getContentsBuilder().addFp32Contents(1).addIntContents(2);
      case 4 ->
          odd.addOutputs(InferRequestedOutputTensor.newBuilder().putParameters("p", parameter));
      default -> odd.getInputsBuilder(0).addShape(-1);
    }
    return odd;
  }

  private static byte[] mutated(byte[] bytes, Random random) {
    byte[] mutated = bytes.clone();
    switch (random.nextInt(5)) {
      case 0 -> mutated = Arrays.copyOf(mutated, random.nextInt(mutated.length + 1));
      case 1 -> {
        int at = random.nextInt(mutated.length);
        byte[] longer = Arrays.copyOf(mutated, mutated.length + 1);
        System.arraycopy(mutated, at, longer, at + 1, mutated.length - at);
        longer[at] = (byte) random.nextInt();
        mutated = longer;
      }
      case 2 -> {
        // One message after another is the merge of both.
        byte[] twice = Arrays.copyOf(mutated, 2 * mutated.length);
        System.arraycopy(mutated, 0, twice, mutated.length, mutated.length);
        mutated = twice;
      }
      default -> {
        for (int i = 1 + random.nextInt(3); i > 0; i--) {
          mutated[random.nextInt(Math.min(mutated.length, 40))] =
              (byte) (random.nextBoolean() ? random.nextInt() : random.nextInt(64));
        }
      }
    }
    return mutated;
  }

  private static String text(Random random) {
    List<String> texts = List.of("", "x", "y", "FP32", "INT64", "model-17", "\u0000\u007f");
    return texts.get(random.nextInt(texts.size()));
  }
}
