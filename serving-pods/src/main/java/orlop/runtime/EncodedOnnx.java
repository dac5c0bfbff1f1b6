package orlop.runtime;

import ai.onnxruntime.OrtException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.stream.Stream;
import orlop.runtime.EncodedRequest.Spans;

/**
 * Runs encoded requests on one session of the engine. Thread-safe; the session must be open.
 *
 * <p>Inputs are used where they lie in the message when they are aligned and alone; else they are
 * copied once, rows of several requests one after the other. The engine writes the outputs of a
 * single request where they lie in the answer, when their shapes are foreseen and they lie aligned;
 * the others are copied once, from where it made them.
 */
final class EncodedOnnx {
  /** More than any batch holds; an empty tensor may claim any number. */
  private static final long MOST_ROWS = 1 << 20;

  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;

  /** A declared tensor. */
  private record Port(TensorSpec spec, byte[] name, byte[] type, long nativeName) {}

  private final long session;
  private final Port[] inputs;
  private final Port[] outputs;
  private final EncodedAnswer.Output[] answers;
  private final PlacedOutputs placed;
  private final boolean places;
  private final boolean takesRows;

  /** Keeps the native names. */
  private final Arena arena = Arena.ofAuto();

  /**
   * @param places whether the engine may write outputs into answers. Not from a GPU: what it copies
   *     from there need only have as many elements, and another shape would go unnoticed.
   */
  EncodedOnnx(Signature signature, long session, boolean places) {
    this.session = session;
    this.places = places;
    this.inputs = ports(signature.inputs().values().toArray(TensorSpec[]::new));
    this.outputs = ports(signature.outputs().values().toArray(TensorSpec[]::new));
    this.answers =
        signature.outputs().values().stream()
            .map(EncodedAnswer.Output::of)
            .toArray(EncodedAnswer.Output[]::new);
    this.placed = new PlacedOutputs(Stream.of(outputs).map(Port::spec).toArray(TensorSpec[]::new));
    this.takesRows = rows(inputs) && rows(outputs);
  }

  private Port[] ports(TensorSpec[] specs) {
    Port[] ports = new Port[specs.length];
    for (int i = 0; i < specs.length; i++) {
      byte[] name = specs[i].name().getBytes(StandardCharsets.UTF_8);
      byte[] type = specs[i].type().name().getBytes(StandardCharsets.US_ASCII);
      long nativeName = arena.allocateFrom(specs[i].name()).address();
      ports[i] = new Port(specs[i], name, type, nativeName);
    }
    return ports;
  }

  private static boolean rows(Port[] ports) {
    for (Port port : ports) {
      long[] shape = port.spec.shape();
      if (!port.spec.ranked()
          || shape.length == 0
          || shape[0] >= 0
          || port.spec.type() == TensorType.BYTES) {
        return false;
      }
    }
    return true;
  }

  boolean takesRows() {
    return takesRows;
  }

  // ---- what is admitted

  boolean admits(EncodedRequest request) {
    int count = request.inputNames.count();
    if (count != inputs.length || outputs.length > Workspace.MOST_TENSORS) {
      return false;
    }
    request.reserve(inputs.length, outputs.length);
    long seen = 0;
    for (int i = 0; i < count; i++) {
      int input = find(inputs, request, request.inputNames, i);
      if (input < 0 || (seen & 1L << input) != 0 || !fits(inputs[input], request, i)) {
        return false;
      }
      seen |= 1L << input;
      request.inputs[i] = input;
    }
    request.rows = takesRows ? rows(request) : 0;
    return admitsOutputs(request);
  }

  private boolean admitsOutputs(EncodedRequest request) {
    int count = request.outputNames.count();
    long seen = 0;
    for (int i = 0; i < count; i++) {
      int output = find(outputs, request, request.outputNames, i);
      if (output < 0 || (seen & 1L << output) != 0) {
        return false;
      }
      seen |= 1L << output;
      request.outputs[i] = output;
    }
    if (count == 0) {
      count = outputs.length;
      for (int i = 0; i < count; i++) {
        request.outputs[i] = i;
      }
    }
    request.outputCount = count;
    for (int i = 0; i < count; i++) {
      if (outputs[request.outputs[i]].spec.type() == TensorType.BYTES) {
        return false;
      }
    }
    return true;
  }

  /** Nearly always they come in the order of the model. */
  private static int find(Port[] ports, EncodedRequest request, Spans names, int i) {
    if (i < ports.length && request.holds(names, i, ports[i].name)) {
      return i;
    }
    for (int j = 0; j < ports.length; j++) {
      if (request.holds(names, i, ports[j].name)) {
        return j;
      }
    }
    return -1;
  }

  private static boolean fits(Port port, EncodedRequest request, int i) {
    TensorSpec spec = port.spec;
    int from = request.shapes.from(i);
    int rank = request.shapes.to(i) - from;
    long[] shape = spec.shape();
    if (spec.type() == TensorType.BYTES
        || !request.holds(request.datatypes, i, port.type)
        || spec.ranked() && rank != shape.length) {
      return false;
    }
    int width = spec.type().width;
    long elements = 1;
    boolean empty = false;
    for (int d = 0; d < rank; d++) {
      long dimension = request.dimensions()[from + d];
      if (spec.ranked() && shape[d] >= 0 && shape[d] != dimension) {
        return false;
      }
      empty |= dimension == 0;
      long factor = Math.max(dimension, 1);
      if (factor > Integer.MAX_VALUE / width / elements) {
        return false;
      }
      elements *= factor;
    }
    return request.raws.bytes(i) == (empty ? 0 : elements * width)
        && (spec.type() != TensorType.BOOL || booleans(request, i));
  }

  private static boolean booleans(EncodedRequest request, int i) {
    for (int at = request.raws.from(i); at < request.raws.to(i); at++) {
      if ((request.message().get(ValueLayout.JAVA_BYTE, at) & 0xfe) != 0) {
        return false;
      }
    }
    return true;
  }

  /** 0 when they do not run together with others: not as many everywhere, or no real ones. */
  private static int rows(EncodedRequest request) {
    long rows = request.dimensions()[request.shapes.from(0)];
    if (rows > MOST_ROWS) {
      return 0;
    }
    for (int i = 1; i < request.inputNames.count(); i++) {
      if (request.dimensions()[request.shapes.from(i)] != rows) {
        return 0;
      }
    }
    return (int) rows;
  }

  // ---- the run

  /** As {@link EncodedModel#infer}. */
  boolean infer(List<? extends EncodedCall> calls, Workspace w, Cancellation cancellation)
      throws OrtException {
    EncodedRequest first = calls.getFirst().request();
    int inputCount = first.inputNames.count();
    int outputCount = first.outputCount;
    long rows = 0;
    for (int i = 0; i < calls.size(); i++) {
      rows += calls.get(i).request().rows;
    }
    long copied = copiedBytes(calls);
    try (Arena large = Workspace.isLarge(copied) ? Arena.ofConfined() : null) {
      MemorySegment space = large == null ? w.tensors(copied) : Workspace.allocate(large, copied);
      w.inputs.fill((byte) 0);
      w.outputs.fill((byte) 0);
      try {
        makeInputs(calls, w, space, rows);
        for (int i = 0; i < outputCount; i++) {
          w.outputNames.setAtIndex(LONG, i, outputs[first.outputs[i]].nativeName);
        }
        boolean mayPlace = places && calls.size() == 1;
        boolean foreseen = mayPlace && placed.foresees(first, w);
        if (foreseen && runPlaced(calls.getFirst(), w, cancellation)) {
          return true;
        }
        run(w, inputCount, outputCount, cancellation);
        if (!readOutputs(w, outputCount, calls.size() > 1 ? rows : -1)) {
          return false;
        }
        answer(calls, w, rows);
        if (mayPlace) {
          placed.learn(first, w, foreseen);
        }
        return true;
      } finally {
        free(w.inputs, inputCount);
        free(w.outputs, outputCount);
      }
    }
  }

  private void answer(List<? extends EncodedCall> calls, Workspace w, long all) {
    long before = 0;
    for (int i = 0; i < calls.size(); i++) {
      EncodedCall call = calls.get(i);
      long of = call.request().rows;
      EncodedAnswer.Rows rows = new EncodedAnswer.Rows(before, of, all);
      MemorySegment answer = EncodedAnswer.begin(call, answers, w, rows);
      EncodedAnswer.end(answer, call.request().outputCount, w, rows);
      before += of;
    }
  }

  /**
   * Runs a call whose shapes are foreseen.
   *
   * @return false when the engine refused, made other shapes or did not write them there: it is to
   *     be run the other way, which shows whether the shapes were wrong or the request
   */
  private boolean runPlaced(EncodedCall call, Workspace w, Cancellation cancellation)
      throws OrtException {
    EncodedRequest request = call.request();
    EncodedAnswer.Rows rows = new EncodedAnswer.Rows(0, request.rows, request.rows);
    MemorySegment answer = EncodedAnswer.begin(call, answers, w, rows);
    try {
      placed.place(request, answer, w);
      run(w, request.inputNames.count(), request.outputCount, cancellation);
      if (PlacedOutputs.complete(request, answer, w)) {
        EncodedAnswer.end(answer, request.outputCount, w, rows);
        return true;
      }
    } catch (OrtException e) {
      if (cancellation.isCancelled()) {
        throw e;
      }
    }
    free(w.outputs, request.outputCount);
    w.outputs.fill((byte) 0);
    return false;
  }

  private static void free(MemorySegment values, int count) {
    for (int i = 0; i < count; i++) {
      long value = values.getAtIndex(LONG, i);
      if (value != 0) {
        EngineApi.freeValue(value);
      }
    }
  }

  private boolean inPlace(List<? extends EncodedCall> calls, int i) {
    if (calls.size() > 1) {
      return false;
    }
    EncodedRequest request = calls.getFirst().request();
    long address = request.message().address() + request.raws.from(i);
    return address % inputs[request.inputs[i]].spec.type().width == 0;
  }

  private long copiedBytes(List<? extends EncodedCall> calls) {
    long bytes = 0;
    for (int i = 0; i < inputs.length; i++) {
      if (!inPlace(calls, i)) {
        long tensor = 0;
        for (int c = 0; c < calls.size(); c++) {
          tensor += calls.get(c).request().raws.bytes(i);
        }
        bytes += Workspace.aligned(tensor);
      }
    }
    return bytes;
  }

  private void makeInputs(
      List<? extends EncodedCall> calls, Workspace w, MemorySegment space, long rows)
      throws OrtException {
    EncodedRequest first = calls.getFirst().request();
    long used = 0;
    for (int i = 0; i < inputs.length; i++) {
      Port port = inputs[first.inputs[i]];
      long data;
      long bytes = 0;
      if (inPlace(calls, i)) {
        bytes = first.raws.bytes(i);
        data = first.message().address() + first.raws.from(i);
      } else {
        data = space.address() + used;
        for (int c = 0; c < calls.size(); c++) {
          EncodedRequest request = calls.get(c).request();
          int length = request.raws.bytes(i);
          MemorySegment.copy(request.message(), request.raws.from(i), space, used + bytes, length);
          bytes += length;
        }
        used += Workspace.aligned(bytes);
      }
      int from = first.shapes.from(i);
      int rank = first.shapes.to(i) - from;
      for (int d = 0; d < rank; d++) {
        boolean joined = d == 0 && calls.size() > 1;
        w.dimensions.setAtIndex(LONG, d, joined ? rows : first.dimensions()[from + d]);
      }
      w.inputNames.setAtIndex(LONG, i, port.nativeName);
      EngineApi.tensor(
          data,
          bytes,
          w.dimensions.address(),
          rank,
          port.spec.type().onnxCode(),
          w.inputs.address() + i * LONG.byteSize());
    }
  }

  private void run(Workspace w, int inputCount, int outputCount, Cancellation cancellation)
      throws OrtException {
    if (cancellation == Cancellation.NEVER) {
      run(w, inputCount, outputCount, 0);
      return;
    }
    long options = EngineApi.runOptions(w.scratch);
    cancellation.begin(() -> EngineApi.terminate(options));
    try {
      run(w, inputCount, outputCount, options);
    } finally {
      cancellation.end();
      EngineApi.freeRunOptions(options);
    }
  }

  private void run(Workspace w, int inputCount, int outputCount, long options) throws OrtException {
    EngineApi.run(
        session,
        options,
        w.inputNames.address(),
        w.inputs.address(),
        inputCount,
        w.outputNames.address(),
        outputCount,
        w.outputs.address());
  }

  /**
   * Finds out shapes and addresses of what the run gave.
   *
   * @param rows that each must have; -1 for any number
   */
  private static boolean readOutputs(Workspace w, int outputCount, long rows) throws OrtException {
    int dimensions = 0;
    for (int i = 0; i < outputCount; i++) {
      long tensor = w.outputs.getAtIndex(LONG, i);
      EngineApi.data(tensor, w.data.address() + i * LONG.byteSize());
      long shape = w.dimensions.address() + dimensions * LONG.byteSize();
      int rank = EngineApi.shape(tensor, w.scratch, shape, Workspace.MOST_DIMENSIONS - dimensions);
      w.ranks[i] = rank;
      if (rows >= 0 && (rank == 0 || w.dimensions.getAtIndex(LONG, dimensions) != rows)) {
        return false;
      }
      dimensions += rank;
    }
    return true;
  }
}
