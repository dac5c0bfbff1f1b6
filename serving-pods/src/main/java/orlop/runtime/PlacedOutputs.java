package orlop.runtime;

import ai.onnxruntime.OrtException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.stream.Stream;

/**
 * The outputs of a model that the engine writes straight into answers, which it can where the runs
 * of single requests have shown which shapes they will have. Thread-safe.
 */
final class PlacedOutputs {
  /** Instead of the address of an output that the engine is to place. */
  private static final long UNPLACED = -1;

  /**
   * Stands where an output is to be written: if it still does after the run, the engine has left
   * the output elsewhere, as it does with one that is an input, too. A NaN that no model makes.
   */
  private static final int UNWRITTEN = 0x7fa5_a5a5;

  private static final ValueLayout.OfInt MARK = ValueLayout.JAVA_INT_UNALIGNED;
  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;

  private final TensorType[] types;
  private final OutputShape[] shapes;

  PlacedOutputs(TensorSpec[] outputs) {
    this.types = Stream.of(outputs).map(TensorSpec::type).toArray(TensorType[]::new);
    this.shapes =
        Stream.generate(OutputShape::new).limit(outputs.length).toArray(OutputShape[]::new);
  }

  /** Writes the shapes that the outputs will have; false when they are not known. */
  boolean foresees(EncodedRequest request, Workspace w) {
    if (!inOrder(request)) {
      return false;
    }
    int dimensions = 0;
    for (int i = 0; i < request.outputCount; i++) {
      int rank =
          shapes[request.outputs[i]].foresee(
              request.dimensions(), request.dimensionCount(), w.dimensions, dimensions);
      if (rank < 0) {
        return false;
      }
      long bytes = types[request.outputs[i]].width;
      for (int d = 0; d < rank; d++) {
        long size = w.dimensions.getAtIndex(LONG, dimensions + d);
        if (size > 0 && bytes > Integer.MAX_VALUE / size) {
          return false;
        }
        bytes *= size;
      }
      w.ranks[i] = rank;
      dimensions += rank;
    }
    return true;
  }

  /** Tells the engine where to write the outputs that lie aligned. */
  void place(EncodedRequest request, MemorySegment answer, Workspace w) throws OrtException {
    int dimensions = 0;
    for (int i = 0; i < request.outputCount; i++) {
      TensorType type = types[request.outputs[i]];
      // A slice, so that the engine is told of no byte beyond the answer.
      MemorySegment data = answer.asSlice(w.places[i], w.lengths[i]);
      if (data.byteSize() >= MARK.byteSize() && data.address() % type.width == 0) {
        data.set(MARK, 0, UNWRITTEN);
        EngineApi.tensor(
            data.address(),
            data.byteSize(),
            w.dimensions.address() + dimensions * LONG.byteSize(),
            w.ranks[i],
            type.onnxCode(),
            w.outputs.address() + i * LONG.byteSize());
        w.data.setAtIndex(LONG, i, 0);
      } else {
        w.data.setAtIndex(LONG, i, UNPLACED);
      }
      dimensions += w.ranks[i];
    }
  }

  /**
   * After the run: finds the outputs that the engine has placed itself.
   *
   * @return false when one of those has another shape, or the engine has not written another
   */
  static boolean complete(EncodedRequest request, MemorySegment answer, Workspace w)
      throws OrtException {
    int after = 0;
    for (int i = 0; i < request.outputCount; i++) {
      after += w.ranks[i];
    }
    int dimensions = 0;
    for (int i = 0; i < request.outputCount; i++) {
      if (w.data.getAtIndex(LONG, i) == UNPLACED) {
        long tensor = w.outputs.getAtIndex(LONG, i);
        EngineApi.data(tensor, w.data.address() + i * LONG.byteSize());
        long shape = w.dimensions.address() + after * LONG.byteSize();
        int rank = EngineApi.shape(tensor, w.scratch, shape, Workspace.MOST_DIMENSIONS - after);
        if (rank != w.ranks[i] || !same(w.dimensions, dimensions, after, rank)) {
          return false;
        }
      } else if (answer.get(MARK, w.places[i]) == UNWRITTEN) {
        return false;
      }
      dimensions += w.ranks[i];
    }
    return true;
  }

  private static boolean same(MemorySegment longs, int one, int other, int count) {
    for (int i = 0; i < count; i++) {
      if (longs.getAtIndex(LONG, one + i) != longs.getAtIndex(LONG, other + i)) {
        return false;
      }
    }
    return true;
  }

  /**
   * Learns shapes from a run in which the engine made all outputs.
   *
   * @param wrong whether they had been foreseen, in vain
   */
  void learn(EncodedRequest request, Workspace w, boolean wrong) {
    if (!wrong && !inOrder(request)) {
      return;
    }
    int dimensions = 0;
    for (int i = 0; i < request.outputCount; i++) {
      OutputShape shape = shapes[request.outputs[i]];
      if (wrong) {
        shape.wasWrong();
      } else {
        shape.saw(
            request.dimensions(), request.dimensionCount(), w.dimensions, dimensions, w.ranks[i]);
      }
      dimensions += w.ranks[i];
    }
  }

  /** Nearly always; else the dimensions of the inputs would be mistaken for each other. */
  private static boolean inOrder(EncodedRequest request) {
    for (int i = 0; i < request.inputNames.count(); i++) {
      if (request.inputs[i] != i) {
        return false;
      }
    }
    return true;
  }
}
