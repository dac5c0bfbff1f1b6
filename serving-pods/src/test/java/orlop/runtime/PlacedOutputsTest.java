package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtSession;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferRequestedOutputTensor;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/** The engine writes outputs into the answer itself, and nobody can tell by the answers. */
class PlacedOutputsTest extends RuntimeTestBase {
  private static final int MANY = 10_000;

  /** So many that what lies before them in an answer is not aligned. */
  private static final int UNALIGNING = 1 << 19;

  private final Workspace workspace = new Workspace();

  private static ModelInferRequest numbers(int count, String... outputs) {
    float[] numbers = new float[count];
    for (int i = 0; i < count; i++) {
      numbers[i] = i % 7 + 1;
    }
    ModelInferRequest.Builder request =
        raw(input("x", "FP32", count), floatBytes(numbers)).toBuilder();
    for (String output : outputs) {
      request.addOutputs(InferRequestedOutputTensor.newBuilder().setName(output));
    }
    return request.build();
  }

  /**
   * Runs a request in both ways, which must agree.
   *
   * @return how many outputs the engine wrote into the answer
   */
  private int placed(EncodedModel model, ModelInferRequest request) throws Exception {
    return placed(model, new Encoded(request, 0));
  }

  private int placed(EncodedModel model, Encoded call) throws Exception {
    assertTrue(call.plain && model.admits(call.request));
    assertTrue(model.infer(List.of(call), workspace, Cancellation.NEVER));
    assertArrayEquals(infer(model, call.decoded).toByteArray(), call.answer());
    int placed = 0;
    for (int i = 0; i < call.request.outputCount; i++) {
      boolean there = workspace.data.getAtIndex(ValueLayout.JAVA_LONG, i) == 0;
      placed += there && workspace.lengths[i] > 0 ? 1 : 0;
    }
    return placed;
  }

  @Test
  void placesOutputsOnceTheirShapesAreKnown() throws Exception {
    try (EncodedModel model = (EncodedModel) load(OnnxModels.identity("FP32", MANY))) {
      assertEquals(0, placed(model, numbers(MANY)), "nothing is known");
      assertEquals(0, placed(model, numbers(MANY)), "one run is no pattern");
      for (int i = 0; i < 10; i++) {
        Encoded call = new Encoded(numbers(MANY), i);
        assertEquals(1, placed(model, call));
        assertEquals(1, call.rooms);
      }
    }
  }

  @Test
  void learnsThatRowsOfOutputsAreThoseOfInputs() throws Exception {
    try (EncodedModel model = (EncodedModel) load(OnnxModels.identity("FP32", -1))) {
      assertEquals(0, placed(model, numbers(MANY)));
      assertEquals(0, placed(model, numbers(MANY)));
      assertEquals(0, placed(model, numbers(2 * MANY)), "it could be always the same");
      assertEquals(1, placed(model, numbers(2 * MANY)));
      assertEquals(1, placed(model, numbers(3 * MANY + 1)));
      assertEquals(1, placed(model, numbers(1)));
      assertEquals(0, placed(model, numbers(0)), "there is nothing");
      assertEquals(1, placed(model, numbers(MANY)));
    }
  }

  @Test
  void placesTensorsOfAnyWidthInAnyOrderWhereTheyAreAligned() throws Exception {
    Random random = new Random(5);
    String[][] orders = {{}, {"y2", "y1", "y0"}, {"y1", "y2"}, {"y0"}, {"y2", "y0"}};
    boolean[] seen = new boolean[4];
    try (EncodedModel model = (EncodedModel) load(OnnxModels.threeWidths())) {
      for (int i = 0; i < 200; i++) {
        int count = MANY + random.nextInt(2000);
        seen[placed(model, numbers(count, orders[random.nextInt(orders.length)]))] = true;
      }
      assertTrue(seen[1] && seen[2] && seen[3], "one, two and all of them were placed");
    }
  }

  @Test
  void copiesWhatTheCallDoesNotAlign() throws Exception {
    try (EncodedModel model = (EncodedModel) load(OnnxModels.identity("FP32", -1))) {
      for (int i = 0; i < 8; i++) {
        Encoded call = new Encoded(numbers(MANY + i), 0);
        call.askew = i % 4;
        assertEquals(i > 1 && i % 4 == 0 ? 1 : 0, placed(model, call), "run " + i);
      }
    }
  }

  @Test
  void runsAgainWhenAShapeIsNotAsForeseenAndForeseesItNoMore() throws Exception {
    try (EncodedModel model = (EncodedModel) load(OnnxModels.nonZero())) {
      for (int i = 0; i < 2; i++) {
        assertEquals(0, placed(model, numbers(MANY)));
      }
      assertEquals(1, placed(model, numbers(MANY)));
      float[] zeros = new float[MANY];
      zeros[3] = 1;
      Encoded fewer = new Encoded(raw(input("x", "FP32", MANY), floatBytes(zeros)), 0);
      assertEquals(0, placed(model, fewer));
      assertEquals(2, fewer.rooms);
      for (int i = 0; i < 5; i++) {
        Encoded call = new Encoded(numbers(MANY), 0);
        assertEquals(0, placed(model, call));
        assertEquals(1, call.rooms);
      }
    }
  }

  @Test
  void noticesThatAnOutputItDidNotPlaceHasAnotherShape() throws Exception {
    try (EncodedModel model = (EncodedModel) load(OnnxModels.branches(UNALIGNING))) {
      float[] small = {1, 2, 3};
      ModelInferRequest yes = raw(input("x", "FP32", 3), floatBytes(small));
      small[0] = 0;
      ModelInferRequest no = raw(input("x", "FP32", 3), floatBytes(small));
      for (int i = 0; i < 4; i++) {
        // The branch's own numbers are larger than the input, and were not there before.
        assertEquals(i < 2 ? 0 : 1, placed(model, yes));
      }
      assertEquals(0, placed(model, no));
      assertEquals(0, placed(model, yes));
    }
  }

  @Test
  void placesWhatABranchOrAConstantGives() throws Exception {
    try (EncodedModel model = (EncodedModel) load(OnnxModels.branches(MANY))) {
      ModelInferRequest yes = numbers(MANY);
      float[] zero = new float[MANY];
      ModelInferRequest no = raw(input("x", "FP32", MANY), floatBytes(zero));
      boolean placed = false;
      for (int i = 0; i < 8; i++) {
        placed |= placed(model, i % 2 == 0 ? yes : no) > 0;
      }
      assertTrue(placed);
    }
  }

  @Test
  void outputsThatNoOperatorMakesAreThereToo() throws Exception {
    try (EncodedModel weights = (EncodedModel) load(OnnxModels.passesItsWeights(MANY));
        EncodedModel loop = (EncodedModel) load(OnnxModels.loop(3));
        EncodedModel none = (EncodedModel) load(OnnxModels.loop(0))) {
      for (EncodedModel model : List.of(weights, loop, none)) {
        int placed = 0;
        for (int i = 0; i < 6; i++) {
          placed += placed(model, numbers(MANY + i / 3));
        }
        assertTrue(placed > 0);
      }
    }
  }

  /** The engine hands out the tensor that it was given, whatever it was told. */
  @Test
  void anOutputThatTheEngineLeavesElsewhereIsNoticed() throws Exception {
    try (EncodedModel model = (EncodedModel) load(OnnxModels.passesItsInput())) {
      int rooms = 0;
      for (int i = 0; i < 6; i++) {
        Encoded call = new Encoded(numbers(MANY), 0);
        assertEquals(0, placed(model, call));
        rooms += call.rooms;
      }
      assertEquals(7, rooms);
    }
  }

  @Test
  void aFailedRequestFailsAsEverAndTheNextOnesArePlaced() throws Exception {
    try (EncodedModel model = (EncodedModel) load(OnnxModels.zerosOfShape())) {
      ModelInferRequest good = raw(input("x", "INT64", 1), 0, 0, 1, 0, 0, 0, 0, 0);
      ModelInferRequest bad = raw(input("x", "INT64", 1), 0, 0, 0, 0, 0, 0, 0, 0x80);
      for (int i = 0; i < 3; i++) {
        assertEquals(i < 2 ? 0 : 1, placed(model, good));
      }
      Encoded call = new Encoded(bad, 0);
      assertTrue(model.admits(call.request));
      InferenceException one =
          assertThrows(
              InferenceException.class,
              () -> model.infer(List.of(call), workspace, Cancellation.NEVER));
      InferenceException other = assertThrows(InferenceException.class, () -> infer(model, bad));
      assertEquals(other.getMessage(), one.getMessage());
      assertEquals(other.code(), one.code());
      assertEquals(1, placed(model, good));
    }
  }

  private static ModelInferRequest raw(
      ModelInferRequest.InferInputTensor.Builder input, int... bytes) {
    byte[] content = new byte[bytes.length];
    for (int i = 0; i < bytes.length; i++) {
      content[i] = (byte) bytes[i];
    }
    return RuntimeTestBase.raw(input, content);
  }

  @Test
  void aRunThatIsCancelledIsNotMadeAgain() throws Exception {
    try (EncodedModel model = (EncodedModel) load(OnnxModels.slow(128, 3_000))) {
      ModelInferRequest request =
          RuntimeTestBase.raw(input("x", "FP32", 128, 128), new byte[4 * 128 * 128]);
      for (int i = 0; i < 2; i++) {
        placed(model, request);
      }
      Cancellation cancellation = new Cancellation();
      Encoded call = new Encoded(request, 0);
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
      assertEquals(1, call.rooms);
      assertEquals(1, placed(model, request));
    }
  }

  /** The engine would take another shape of as many elements for the foreseen one there. */
  @Test
  void placesNothingWhereTheEngineCopiesFromAGpu() throws Exception {
    Engine cpu = runtime.engine();
    Engine gpu = new Engine(cpu.environment(), cpu.strings(), cpu.casts(), cpu.heap(), true);
    OnnxFile file = OnnxFile.read(file(OnnxModels.identity("FP32", MANY)));
    OrtSession session = cpu.environment().createSession(file.path().toString());
    try (EncodedModel model = OnnxModel.of("m", file, 1, session, gpu, () -> {})) {
      for (int i = 0; i < 4; i++) {
        Encoded call = new Encoded(numbers(MANY), 0);
        assertEquals(0, placed(model, call));
        assertEquals(1, call.rooms);
      }
    }
  }

  @Test
  void leavesBatchesAsTheyWere() throws Exception {
    try (EncodedModel model = (EncodedModel) load(OnnxModels.identity("FP32", -1))) {
      for (int round = 0; round < 4; round++) {
        placed(model, numbers(MANY));
        List<Encoded> calls = new ArrayList<>();
        for (int i = 1; i < 4; i++) {
          Encoded call = new Encoded(numbers(i * MANY + round), i);
          assertTrue(model.admits(call.request));
          calls.add(call);
        }
        assertTrue(model.infer(calls, workspace, Cancellation.NEVER));
        for (Encoded call : calls) {
          assertArrayEquals(infer(model, call.decoded).toByteArray(), call.answer());
        }
      }
    }
  }

  @Test
  void aShapeIsForeseenOnlyWhereAllThatIsBelievedAgrees() {
    OutputShape shape = new OutputShape();
    var longs = workspace.dimensions;
    long[][] runs = {{4, 8, 4, 4}, {6, 8, 6, 4}};
    for (long[] run : runs) {
      assertEquals(-1, shape.foresee(run, 2, longs, 0));
      longs.setAtIndex(ValueLayout.JAVA_LONG, 0, run[2]);
      longs.setAtIndex(ValueLayout.JAVA_LONG, 1, run[3]);
      shape.saw(run, 2, longs, 0, 2);
    }
    assertEquals(2, shape.foresee(new long[] {9, 1}, 2, longs, 3));
    assertEquals(9, longs.getAtIndex(ValueLayout.JAVA_LONG, 3));
    assertEquals(4, longs.getAtIndex(ValueLayout.JAVA_LONG, 4));
    assertEquals(-1, shape.foresee(new long[] {9, 1}, 0, longs, 0), "fewer inputs");
    assertEquals(-1, shape.foresee(new long[] {9, 1}, 2, longs, Workspace.MOST_DIMENSIONS - 1));
    assertFalse(shape.foresee(new long[] {9, 1}, 2, longs, Workspace.MOST_DIMENSIONS - 2) < 0);
    longs.setAtIndex(ValueLayout.JAVA_LONG, 0, 3);
    shape.saw(new long[] {9, 1}, 2, longs, 0, 1);
    assertEquals(-1, shape.foresee(new long[] {9, 1}, 2, longs, 0), "another rank");
  }
}
