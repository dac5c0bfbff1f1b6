package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import inference.ModelInferRequest;
import inference.ModelInferResponse;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Inputs in memory of somebody else. */
class LentTensorsTest extends RuntimeTestBase {
  /** The address of the tensor that the engine gets for that memory. */
  private long tensorAddress(TensorType type, ByteBuffer lent, long elements) throws Exception {
    TensorSpec spec = new TensorSpec("x", type, new long[] {-1}, true);
    Signature signature = new Signature("m", Map.of("x", spec), Map.of("x", spec), Map.of());
    ModelInferRequest request =
        ModelInferRequest.newBuilder().addInputs(input("x", type.name(), elements)).build();
    try (RequestTensors tensors = new RequestTensors(signature, runtime.engine())) {
      tensors.decode(request, List.of(lent));
      var memory = tensors.tensors().values().iterator().next().getBufferRef().orElseThrow();
      return MemorySegment.ofBuffer(memory).address();
    }
  }

  @Test
  void numbersAreReadWhereTheyAreUnlessTheyMustBeCheckedOrLieAskew() throws Exception {
    try (Arena arena = Arena.ofShared()) {
      MemorySegment memory = arena.allocate(64, 64);
      ByteBuffer whole = memory.asByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
      long address = memory.address();
      assertEquals(address + 8, tensorAddress(TensorType.FP32, whole.slice(8, 8), 2));
      assertEquals(address + 8, tensorAddress(TensorType.INT64, whole.slice(8, 8), 1));
      assertEquals(address + 2, tensorAddress(TensorType.FP16, whole.slice(2, 4), 2));
      assertNotEquals(address + 2, tensorAddress(TensorType.FP32, whole.slice(2, 8), 2));
      assertNotEquals(address + 8, tensorAddress(TensorType.BOOL, whole.slice(8, 2), 2));
    }
  }

  @Test
  void theAnswerIsThatOfTheSameBytesInsideTheRequestAndBadOnesAreRefused() throws Exception {
    try (LoadedModel model = load(OnnxModels.identity("FP32", -1))) {
      ModelInferRequest bare =
          ModelInferRequest.newBuilder().setModelName("m").addInputs(input("x", "FP32", 2)).build();
      ByteBuffer lent = ByteBuffer.allocateDirect(8).order(ByteOrder.LITTLE_ENDIAN);
      lent.put(floatBytes(1.5f, -2)).flip();
      ModelInferResponse answer = model.infer(bare, List.of(lent), Cancellation.NEVER);
      assertArrayEquals(floatBytes(1.5f, -2), answer.getRawOutputContents(0).toByteArray());
      assertEquals(8, lent.remaining(), "what was lent is not moved");
      InferenceException shorter =
          assertThrows(
              InferenceException.class,
              () -> model.infer(bare, List.of(lent.slice(0, 4)), Cancellation.NEVER));
      assertEquals(InferenceException.Code.INVALID_ARGUMENT, shorter.code());
    }
    try (LoadedModel model = load(OnnxModels.identity("BYTES", -1))) {
      ModelInferRequest bare =
          ModelInferRequest.newBuilder().addInputs(input("x", "BYTES", 1)).build();
      ByteBuffer lent = ByteBuffer.allocateDirect(6).order(ByteOrder.LITTLE_ENDIAN);
      lent.putInt(2).put((byte) 'h').put((byte) 'i').flip();
      ModelInferResponse answer = model.infer(bare, List.of(lent), Cancellation.NEVER);
      assertEquals(6, answer.getRawOutputContents(0).size());
    }
  }
}
