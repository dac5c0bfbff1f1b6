package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferRequestedOutputTensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.EnumSource.Mode;

/** Encoded requests get the very bytes that protobuf's way gives, alone and together. */
class EncodedModelTest extends RuntimeTestBase {
  private final Workspace workspace = new Workspace();

  private EncodedModel encoded(byte[] model) throws Exception {
    return (EncodedModel) load(model);
  }

  private byte[] run(EncodedModel model, Encoded call) throws Exception {
    assertTrue(model.infer(List.of(call), workspace, Cancellation.NEVER));
    return call.answer();
  }

  @ParameterizedTest
  @EnumSource(value = TensorType.class, mode = Mode.EXCLUDE, names = "BYTES")
  void answersEachDatatypeAsTheOtherWayDoesWhateverTheAlignment(TensorType type) throws Exception {
    try (EncodedModel model = encoded(OnnxModels.identity(type.name(), -1, 3))) {
      for (int offset = 0; offset < 9; offset++) {
        byte[] bytes = new byte[offset * 3 * type.width];
        new Random(offset).nextBytes(bytes);
        if (type == TensorType.BOOL) {
          for (int i = 0; i < bytes.length; i++) {
            bytes[i] &= 1;
          }
        }
        ModelInferRequest request = raw(input("x", type.name(), offset, 3), bytes);
        Encoded call = new Encoded(request, offset);
        assertTrue(call.plain && model.admits(call.request), type + " of " + offset + " rows");
        assertArrayEquals(infer(model, request).toByteArray(), run(model, call));
      }
    }
  }

  @Test
  void answersScalarsAnyRankAndSeveralTensorsAsTheOtherWayDoes() throws Exception {
    try (EncodedModel sum = encoded(OnnxModels.sum());
        EncodedModel any = encoded(OnnxModels.identityOfAnyRank("INT64"));
        EncodedModel two = encoded(OnnxModels.twoInputs())) {
      requireSame(sum, raw(input("x", "FP32", 3), floatBytes(1, 2, 4)));
      requireSame(any, raw(input("x", "INT64"), new byte[8]));
      requireSame(any, raw(input("x", "INT64", 1, 1, 2), new byte[16]));
      ModelInferRequest.Builder both =
          ModelInferRequest.newBuilder()
              .setModelName("the name asked for: é")
              .setId("id 7")
              .addInputs(input("x1", "INT64", 2))
              .addInputs(input("x0", "FP32", 3, 2))
              .addRawInputContents(ByteString.copyFrom(new byte[16]))
              .addRawInputContents(ByteString.copyFrom(floatBytes(1, 2, 3, 4, 5, 6)));
      assertFalse(new Encoded(both.build(), 0).plain, "a name beyond ASCII");
      both.setModelName("asked");
      requireSame(two, both.build());
      both.addOutputs(InferRequestedOutputTensor.newBuilder().setName("y2"));
      both.addOutputs(InferRequestedOutputTensor.newBuilder().setName("y0"));
      requireSame(two, both.build());
    }
  }

  @Test
  void saysWhichVersionAnswered() throws Exception {
    try (EncodedModel model = encoded(OnnxModels.linear(0, 1))) {
      ModelInferRequest request = raw(input("x", "FP32", 1, 1), floatBytes(1));
      Encoded call = new Encoded(request, 0);
      call.version = new byte[] {'1'};
      assertTrue(model.admits(call.request));
      assertArrayEquals(
          infer(model, request).toBuilder().setModelVersion("1").build().toByteArray(),
          run(model, call));
    }
  }

  private void requireSame(EncodedModel model, ModelInferRequest request) throws Exception {
    Encoded call = new Encoded(request, 1);
    assertTrue(call.plain && model.admits(call.request), request.toString());
    assertArrayEquals(infer(model, request).toByteArray(), run(model, call), request.toString());
  }

  @Test
  void admitsExactlyTheRawRequestsThatTheOtherWayAnswers() throws Exception {
    Random random = new Random(11);
    int admitted = 0;
    int refused = 0;
    try (EncodedModel model = encoded(OnnxModels.twoInputs())) {
      for (int round = 0; round < 3_000; round++) {
        ModelInferRequest request = nearlyRight(random);
        Encoded call = new Encoded(request, random.nextInt(8));
        assertTrue(call.plain, request.toString());
        if (model.admits(call.request)) {
          admitted++;
          assertArrayEquals(infer(model, request).toByteArray(), run(model, call));
        } else {
          refused++;
          assertThrows(InferenceException.class, () -> infer(model, request), request.toString());
        }
      }
    }
    assertTrue(admitted > 500 && refused > 500, admitted + " admitted, " + refused + " refused");
  }

  private static ModelInferRequest nearlyRight(Random random) {
    int rows = random.nextInt(4);
    int others = random.nextInt(4);
    ModelInferRequest.Builder request = ModelInferRequest.newBuilder().setModelName("m");
    boolean swapped = random.nextBoolean();
    for (int i = 0; i < 2; i++) {
      boolean first = i == 0 != swapped;
      int wrong = random.nextInt(12);
      String name = wrong == 0 ? "x0" : first ? "x0" : "x1";
      String type = wrong == 1 ? "FP32" : first ? "FP32" : "INT64";
      long[] shape = first ? new long[] {rows, wrong == 2 ? 3 : 2} : new long[] {others};
      int bytes = (first ? rows : others) * 8 + (wrong == 3 ? 4 : 0);
      request
          .addInputs(input(name, type, wrong == 4 ? new long[] {1L << 40, 0} : shape))
          .addRawInputContents(ByteString.copyFrom(new byte[bytes]));
    }
    for (int i = random.nextInt(3); i > 0; i--) {
      String output = random.nextInt(8) == 0 ? "no such" : "y" + random.nextInt(3);
      request.addOutputs(InferRequestedOutputTensor.newBuilder().setName(output));
    }
    return request.build();
  }

  @Test
  void splitsTheRowsOfSeveralRequestsBackExactly() throws Exception {
    Random random = new Random(3);
    try (EncodedModel model = encoded(OnnxModels.linear(0.5f, 1, 2, 3))) {
      assertTrue(model.takesRows());
      List<Encoded> calls = new ArrayList<>();
      for (int i = 0; i < 9; i++) {
        float[] numbers = new float[3 * (1 + random.nextInt(4))];
        for (int j = 0; j < numbers.length; j++) {
          numbers[j] = random.nextInt(1000);
        }
        ModelInferRequest request =
            raw(input("x", "FP32", numbers.length / 3, 3), floatBytes(numbers)).toBuilder()
                .setModelName("name " + i)
                .setId(i % 2 == 0 ? "" : "id " + i)
                .build();
        Encoded call = new Encoded(request, i);
        assertTrue(model.admits(call.request));
        assertTrue(calls.isEmpty() || calls.getFirst().request.joins(call.request));
        calls.add(call);
      }
      assertTrue(model.infer(calls, workspace, Cancellation.NEVER));
      for (Encoded call : calls) {
        assertArrayEquals(infer(model, call.decoded).toByteArray(), call.answer());
      }
    }
  }

  @Test
  void joinsOnlyRequestsOfOneSignature() throws Exception {
    try (EncodedModel model = encoded(OnnxModels.identity("FP32", -1, -1));
        EncodedModel two = encoded(OnnxModels.twoInputs());
        EncodedModel fixed = encoded(OnnxModels.identity("FP32", 1, 2))) {
      EncodedRequest wide = admitted(model, raw(input("x", "FP32", 1, 2), new byte[8]));
      EncodedRequest more = admitted(model, raw(input("x", "FP32", 2, 2), new byte[16]));
      EncodedRequest narrow = admitted(model, raw(input("x", "FP32", 2, 1), new byte[8]));
      EncodedRequest none = admitted(model, raw(input("x", "FP32", 0, 2), new byte[0]));
      assertTrue(wide.joins(more));
      assertFalse(wide.joins(narrow), "another width");
      assertFalse(wide.joins(none), "no rows");
      assertFalse(fixed.takesRows());
      assertEquals(0, admitted(fixed, raw(input("x", "FP32", 1, 2), new byte[8])).rows());
      ModelInferRequest.Builder even =
          ModelInferRequest.newBuilder()
              .addInputs(input("x0", "FP32", 2, 2))
              .addInputs(input("x1", "INT64", 2))
              .addRawInputContents(ByteString.copyFrom(new byte[16]))
              .addRawInputContents(ByteString.copyFrom(new byte[16]));
      EncodedRequest all = admitted(two, even.build());
      InferRequestedOutputTensor y0 = InferRequestedOutputTensor.newBuilder().setName("y0").build();
      EncodedRequest one = admitted(two, even.clone().addOutputs(y0).build());
      assertEquals(2, all.rows());
      assertFalse(all.joins(one), "other outputs");
      even.setInputs(1, input("x1", "INT64", 1));
      even.setRawInputContents(1, ByteString.copyFrom(new byte[8]));
      assertEquals(0, admitted(two, even.build()).rows(), "inputs of different rows");
    }
  }

  private static EncodedRequest admitted(EncodedModel model, ModelInferRequest request) {
    Encoded call = new Encoded(request, 0);
    assertTrue(call.plain && model.admits(call.request), request.toString());
    return call.request;
  }

  @Test
  void noticesAModelThatDoesNotAnswerRowByRow() throws Exception {
    try (EncodedModel model = encoded(OnnxModels.twice(2))) {
      assertTrue(model.takesRows());
      Encoded one = new Encoded(raw(input("x", "FP32", 1, 2), floatBytes(1, 2)), 0);
      Encoded other = new Encoded(raw(input("x", "FP32", 1, 2), floatBytes(3, 4)), 0);
      assertTrue(model.admits(one.request) && model.admits(other.request));
      assertFalse(model.infer(List.of(one, other), workspace, Cancellation.NEVER));
      assertEquals(0, one.answer().length);
      assertArrayEquals(infer(model, one.decoded).toByteArray(), run(model, one));
    }
  }

  @Test
  void tellsWhyARunFailedAndGoesOn() throws Exception {
    try (EncodedModel model = encoded(OnnxModels.zerosOfShape())) {
      byte[] negative = new byte[8];
      negative[7] = (byte) 0x80;
      ModelInferRequest request = raw(input("x", "INT64", 1), negative);
      Encoded call = new Encoded(request, 0);
      assertTrue(model.admits(call.request));
      InferenceException e = assertThrows(InferenceException.class, () -> run(model, call));
      InferenceException other =
          assertThrows(InferenceException.class, () -> infer(model, request));
      assertEquals(other.code(), e.code());
      assertEquals(other.getMessage(), e.getMessage());
      requireSame(model, raw(input("x", "INT64", 1), new byte[] {3, 0, 0, 0, 0, 0, 0, 0}));
    }
  }

  @Test
  void stopsARunWhoseCallerHasGone() throws Exception {
    try (EncodedModel model = encoded(OnnxModels.slow(256, 20_000))) {
      Cancellation cancellation = new Cancellation();
      Encoded call = new Encoded(raw(input("x", "FP32", 256, 256), new byte[4 << 16]), 0);
      assertTrue(model.admits(call.request));
      CompletableFuture<InferenceException> failure = new CompletableFuture<>();
      Thread runs =
          Thread.ofPlatform()
              .start(
                  () ->
                      failure.complete(
                          assertThrows(
                              InferenceException.class,
                              () -> model.infer(List.of(call), new Workspace(), cancellation))));
      long deadlineNs = System.nanoTime() + 10_000_000_000L;
      while (!cancellation.runs() && System.nanoTime() < deadlineNs) {
        Thread.onSpinWait();
      }
      cancellation.cancel();
      runs.join(20_000);
      assertEquals(InferenceException.Code.CANCELLED, failure.getNow(null).code());
    }
  }

  @Test
  void refusesToRunOnceClosed() throws Exception {
    EncodedModel model = encoded(OnnxModels.linear(0, 1));
    Encoded call = new Encoded(raw(input("x", "FP32", 1, 1), floatBytes(1)), 0);
    assertTrue(model.admits(call.request));
    model.close();
    assertThrows(InferenceException.class, () -> run(model, call));
  }

  @Test
  void takesTensorsThatAreLargerThanWhatItKeeps() throws Exception {
    try (EncodedModel model = encoded(OnnxModels.identity("FP32", -1))) {
      byte[] bytes = new byte[9 << 20];
      new Random(1).nextBytes(bytes);
      ModelInferRequest request = raw(input("x", "FP32", bytes.length / 4), bytes);
      for (int offset = 0; offset < 4; offset++) {
        Encoded call = new Encoded(request, offset);
        assertTrue(model.admits(call.request));
        assertArrayEquals(infer(model, request).toByteArray(), run(model, call));
      }
    }
  }
}
