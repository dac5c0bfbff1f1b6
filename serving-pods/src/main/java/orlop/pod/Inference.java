package orlop.pod;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedInputStream;
import com.google.protobuf.UnsafeByteOperations;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import io.grpc.Status;
import io.grpc.StatusException;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.PooledByteBufAllocator;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import orlop.runtime.Cancellation;
import orlop.runtime.EncodedCall;
import orlop.runtime.EncodedModel;
import orlop.runtime.EncodedRequest;
import orlop.runtime.InferenceException;
import orlop.runtime.LoadedModel;
import orlop.runtime.Workspace;

/**
 * One inference in this process, from encoded request to encoded answer: on a compute thread, alone
 * or together with others, or at once on the event loop of its call when it is quick. One thread at
 * a time.
 *
 * <p>A request in the plain form of {@link EncodedRequest} is run as it lies in memory; any other
 * one is decoded first.
 */
final class Inference implements EncodedCall {
  private static final System.Logger LOG = System.getLogger(Inference.class.getName());

  /** Larger messages are left to compute threads, since event loops should not copy them. */
  private static final int MOST_ON_LOOP_BYTES = 64 << 10;

  private static final byte[] VERSION = Named.VERSION.getBytes(StandardCharsets.UTF_8);

  /** What became of several that were to run together. */
  enum Ran {
    /** All of them in one run, which can be measured. */
    TOGETHER,
    /** The model did not answer row by row. */
    NOT_BY_ROWS,
    OTHERWISE
  }

  private final Call call;
  private final Named to;
  private final Slot<Held> slot;
  private final boolean resumed;
  private final long queuedNs = System.nanoTime();

  /** The request, which is read in place and released at the end. */
  private ByteBuf message;

  /** Null as long as it is not known to be plain. */
  private @Nullable EncodedRequest request;

  /** Bytes that its model has for it. */
  private int counted;

  private boolean looked;
  private @Nullable ByteBuf answer;
  private String id = "";
  private boolean sampled;
  private long beganNs;
  private long runNs;

  private Inference(Call call, Named to, Slot<Held> slot, ByteBuf message, boolean resumed) {
    this.call = call;
    this.to = to;
    this.slot = slot;
    this.message = message;
    this.resumed = resumed;
  }

  /**
   * Runs it, now or when its turn comes; the call hears how it ended. On the call's event loop.
   *
   * @param slot pinned; it is unpinned when the inference has ended or cannot start
   * @param message is released at the end
   * @param resumed whether the call holds one of the places of {@link Resume}
   * @return why there is no room for it, in which case the call hears nothing; null when there is
   */
  static @Nullable String start(
      Call call, Named to, Slot<Held> slot, ByteBuf message, boolean resumed) {
    Inference inference = new Inference(call, to, slot, message, resumed);
    Dispatcher pod = call.pod;
    int pins = slot.pins();
    String full;
    if (pins > pod.mostForOneModel) {
      full =
          "%d calls run or wait for model '%s', one may have %d; computeQueue is %d"
              .formatted(pins, to.model().id(), pod.mostForOneModel, pod.config.computeQueue());
    } else if (inference.runsHere()) {
      return null;
    } else if (inference.tooManyBytes()) {
      full =
          "requests for model '%s' hold %d bytes, one may have %d, three quarters of maxInFlightBytes"
              .formatted(
                  to.model().id(), inference.lane().heldBytes.get(), pod.mostBytesForOneModel);
    } else if (pod.compute.offer(inference)) {
      return null;
    } else {
      full =
          "%d inferences wait for a compute thread, computeQueue is %d"
              .formatted(pod.compute.waiting(), pod.config.computeQueue());
    }
    inference.leave();
    inference.letGo();
    return full;
  }

  /** Counts its bytes for the model until it is let go. */
  private boolean tooManyBytes() {
    counted = message.readableBytes();
    long held = lane().heldBytes.addAndGet(counted);
    return held > counted && held > call.pod.mostBytesForOneModel;
  }

  /** Prepares it on the event loop, and runs it there when that takes no time. */
  private boolean runsHere() {
    Lane lane = lane();
    boolean small = message.readableBytes() <= MOST_ON_LOOP_BYTES;
    Loop loop = call.loop;
    boolean now = small && lane.quick() && loop.takeTime(lane.costNs());
    if (!now && !small && !message.isDirect()) {
      return false;
    }
    try {
      look(now ? loop.request : new EncodedRequest());
    } catch (RuntimeException | Error e) {
      leave();
      failed(broken(e), e);
      letGo();
      return true;
    }
    if (now) {
      runTogether(List.of(this), loop.workspace);
      loop.request.forget();
    }
    return now;
  }

  /** Of what should not happen: memory that is not to be had, or a defect. */
  private Status broken(Throwable e) {
    return Status.INTERNAL.withDescription(
        "model '%s' failed in pod '%s': %s".formatted(to.model().id(), call.pod.config.id(), e));
  }

  /** Finds out whether the request is plain. */
  private void look(EncodedRequest into) {
    looked = true;
    if (loaded() instanceof EncodedModel model) {
      if (!message.isDirect() || message.nioBufferCount() != 1) {
        int length = message.readableBytes();
        ByteBuf direct = PooledByteBufAllocator.DEFAULT.directBuffer(length, length);
        direct.writeBytes(message, message.readerIndex(), length);
        message.release();
        message = direct;
      }
      request = into.read(message.nioBuffer()) && model.admits(into) ? into : null;
    }
  }

  Lane lane() {
    return slot.held().lane();
  }

  /** Nanoseconds that its caller gives it. */
  long leftNs() {
    return call.leftNs();
  }

  /** Whether nobody waits for it any more. */
  boolean isOver() {
    return call.done() || call.leftNs() <= 0;
  }

  /** The request when it can run as it lies in memory. */
  @Override
  @SuppressWarnings("NullAway") // The model asks for it only once it is there.
  public @Nullable EncodedRequest request() {
    return request;
  }

  @Override
  public byte[] modelName() {
    return to.asked().getBytes(StandardCharsets.UTF_8);
  }

  @Override
  public byte[] modelVersion() {
    return VERSION;
  }

  @Override
  public ByteBuffer room(int bytes, int aligned) {
    dropAnswer();
    ByteBuf room = Answers.room(bytes, aligned);
    answer = room;
    return room.nioBuffer(room.readerIndex() + Wire.PREFIX_BYTES, bytes);
  }

  /** Runs all of them, as one where they can be, and ends each. */
  static Ran runTogether(List<Inference> all, Workspace workspace) {
    List<Inference> here = new ArrayList<>(all.size());
    for (int i = 0; i < all.size(); i++) {
      if (all.get(i).begins()) {
        here.add(all.get(i));
      }
    }
    if (here.size() == 1) {
      here.getFirst().runAlone(workspace);
      return all.size() == 1 ? Ran.TOGETHER : Ran.OTHERWISE;
    }
    if (here.isEmpty()) {
      return Ran.OTHERWISE;
    }
    try {
      if (here.getFirst().loaded() instanceof EncodedModel model) {
        long runNs = System.nanoTime();
        if (model.infer(here, workspace, Cancellation.NEVER)) {
          long doneNs = System.nanoTime();
          boolean byRows = proves(here, model, workspace);
          ranTogether(here, runNs, doneNs);
          if (!byRows) {
            return Ran.NOT_BY_ROWS;
          }
          return here.size() == all.size() ? Ran.TOGETHER : Ran.OTHERWISE;
        }
      }
      here.forEach(each -> each.runAlone(workspace));
      return Ran.NOT_BY_ROWS;
    } catch (InferenceException | RuntimeException e) {
      // One of them may be the cause; the others must not pay for it.
      here.forEach(each -> each.runAlone(workspace));
      return Ran.OTHERWISE;
    }
  }

  /**
   * Whether each got in company what it gets alone, where that is not known of the model yet. Each
   * has then been answered as if it was alone.
   */
  private static boolean proves(List<Inference> all, EncodedModel model, Workspace workspace)
      throws InferenceException {
    Inference first = all.getFirst();
    RowProof proof = first.lane().proof;
    if (proof.done()) {
      return true;
    }
    boolean alike = all.stream().allMatch(each -> each.message.equals(first.message));
    if (!proof.wants(alike)) {
      return true;
    }
    boolean same = true;
    for (Inference each : all) {
      ByteBuf together = each.answer;
      each.answer = null;
      try {
        model.infer(List.of(each), workspace, Cancellation.NEVER);
        same &= together != null && each.answer != null && RowProof.same(together, each.answer);
      } finally {
        if (together != null) {
          together.release();
        }
      }
    }
    if (same) {
      proof.agreed(alike);
    }
    return same;
  }

  private static void ranTogether(List<Inference> all, long runNs, long doneNs) {
    long rows = 0;
    for (int i = 0; i < all.size(); i++) {
      EncodedRequest request = all.get(i).request;
      rows += request == null ? 0 : request.rows();
    }
    Inference first = all.getFirst();
    first
        .stats()
        .executed(
            all.size(),
            rows,
            runNs - first.beganNs,
            doneNs - runNs,
            0,
            first.call.pod.clock.nowMs());
    for (int i = 0; i < all.size(); i++) {
      all.get(i).measured(doneNs - runNs);
      all.get(i).answered(doneNs);
      all.get(i).letGo();
    }
  }

  /** Whether it is to run; when not, it has ended. */
  private boolean begins() {
    beganNs = System.nanoTime();
    call.pod.metrics.queued(beganNs - queuedNs);
    slot.waited(beganNs - queuedNs);
    leave();
    try {
      if (!isOver()) {
        if (!looked) {
          look(new EncodedRequest());
        }
        EncodedRequest plain = request;
        if (plain != null) {
          tap(plain.id());
        }
        return true;
      }
      stats().cancelled(beganNs - call.startNs());
      if (!call.done()) {
        call.didNotRun(Statuses.LATE);
      }
    } catch (RuntimeException | Error e) {
      // The others that were to run with it must not pay for it.
      failed(broken(e), e);
    }
    letGo();
    return false;
  }

  /** Ends it without a run, because the pod ends. Instead of a run. */
  void dropped() {
    leave();
    try {
      call.podEnds();
    } finally {
      letGo();
    }
  }

  private void tap(String v2Id) {
    PayloadTap payloads = call.pod.payloads;
    id = payloads.correlationId(v2Id, call.headers);
    sampled = payloads.samples(Op.INFER, id, to);
    if (sampled) {
      payloads.request(id, to, ByteBufUtil.getBytes(message), call.headers);
    }
  }

  private void runAlone(Workspace workspace) {
    try {
      dropAnswer();
      if (request != null) {
        inferEncoded(workspace);
      } else {
        inferDecoded();
      }
    } catch (InferenceException e) {
      failed(Statuses.of(e), e);
    } catch (StatusException e) {
      failed(e.getStatus(), e);
    } catch (RuntimeException | Error e) {
      // Whatever it is, the caller must hear of it and its place be free again.
      failed(broken(e), e);
    } finally {
      letGo();
    }
  }

  private void inferEncoded(Workspace workspace) throws InferenceException {
    EncodedModel model = (EncodedModel) loaded();
    EncodedRequest plain = request;
    runNs = System.nanoTime();
    model.infer(List.of(this), workspace, cancellation());
    long doneNs = System.nanoTime();
    lane().ranAlone(doneNs - runNs);
    measured(doneNs - runNs);
    int rows = plain == null ? 0 : plain.rows();
    stats()
        .executed(1, Math.max(1, rows), runNs - beganNs, doneNs - runNs, 0, call.pod.clock.nowMs());
    answered(doneNs);
  }

  private void inferDecoded() throws InferenceException, StatusException {
    ModelInferRequest decoded;
    try {
      CodedInputStream in = bytes(message).newCodedInput();
      in.enableAliasing(true);
      decoded = ModelInferRequest.parseFrom(in);
    } catch (IOException e) {
      stats().failed(System.nanoTime() - call.startNs());
      call.didNotRun(
          Status.INVALID_ARGUMENT.withDescription(
              "the request is not a well-formed ModelInferRequest: " + e.getMessage()));
      return;
    }
    tap(decoded.getId());
    LoadedModel model = loaded();
    runNs = System.nanoTime();
    ModelInferResponse response;
    long ranNs;
    try (Extended extended = extended(decoded)) {
      response =
          extended == null
              ? model.infer(decoded, cancellation())
              : extended.run(model, cancellation());
      ranNs = System.nanoTime();
      if (extended != null) {
        response = extended.answer(response, BatchAxis.of(model.metadata()));
      }
    }
    answer = Answers.framed(V2Answer.of(response, decoded, to));
    long doneNs = System.nanoTime();
    lane().ranAlone(doneNs - runNs);
    measured(doneNs - runNs);
    stats()
        .executed(
            1,
            BatchAxis.rows(model.metadata(), decoded),
            runNs - beganNs,
            ranNs - runNs,
            doneNs - ranNs,
            call.pod.clock.nowMs());
    answered(doneNs);
  }

  private void measured(long ns) {
    call.pod.metrics.ran(to, call.op, Status.Code.OK, ns);
  }

  /** Null for a plain request. */
  private @Nullable Extended extended(ModelInferRequest decoded) throws StatusException {
    Status refused = to.refuseVersion(decoded.getModelVersion());
    if (refused != null) {
      throw refused.asException();
    }
    return Extended.of(call.pod.sharedMemory, call.pod.config.id(), decoded);
  }

  private void answered(long doneNs) {
    ByteBuf framed = answer;
    if (framed == null) {
      throw new IllegalStateException("the model ran and left no answer");
    }
    answer = null;
    stats().succeeded(beganNs - queuedNs, doneNs - call.startNs());
    if (sampled) {
      int length = framed.readableBytes() - Wire.PREFIX_BYTES;
      int start = framed.readerIndex() + Wire.PREFIX_BYTES;
      byte[] copy = ByteBufUtil.getBytes(framed, start, length);
      call.pod.payloads.response(id, to, copy, call.headers);
    }
    call.ran(framed);
  }

  private void failed(Status status, Throwable cause) {
    dropAnswer();
    if (runNs != 0) {
      call.pod.metrics.ran(to, call.op, status.getCode(), System.nanoTime() - runNs);
    }
    long tookNs = System.nanoTime() - call.startNs();
    if (status.getCode() == Status.Code.CANCELLED) {
      stats().cancelled(tookNs);
    } else {
      stats().failed(tookNs);
    }
    if (status.getCode() == Status.Code.INTERNAL) {
      LOG.log(Level.WARNING, "{0}: {1}", status.getDescription(), cause);
    }
    call.pod.payloads.failure(Op.INFER, id, to, status, call.headers);
    call.didNotRun(status);
  }

  private LoadedModel loaded() {
    return slot.held().loaded();
  }

  private ModelStats stats() {
    return slot.held().stats();
  }

  private Cancellation cancellation() {
    return lane().stoppable() ? call.cancellation : Cancellation.NEVER;
  }

  /** The same bytes, not copied where they lie in one piece. */
  private static ByteString bytes(ByteBuf message) {
    return message.nioBufferCount() == 1
        ? UnsafeByteOperations.unsafeWrap(message.nioBuffer())
        : UnsafeByteOperations.unsafeWrap(ByteBufUtil.getBytes(message));
  }

  private void leave() {
    if (resumed) {
      call.pod.resume.leave();
    }
  }

  private void letGo() {
    lane().heldBytes.addAndGet(-counted);
    slot.unpin();
    message.release();
  }

  private void dropAnswer() {
    ByteBuf left = answer;
    answer = null;
    if (left != null) {
      left.release();
    }
  }
}
