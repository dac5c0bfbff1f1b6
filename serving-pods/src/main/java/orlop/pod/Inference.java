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
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.util.concurrent.RejectedExecutionException;
import org.jspecify.annotations.Nullable;
import orlop.runtime.InferenceException;
import orlop.runtime.LoadedModel;

/**
 * One inference in this process, from encoded request to encoded answer, on a compute thread.
 *
 * @param slot pinned; it is unpinned when the inference has ended or cannot start
 * @param message the request, which is read in place and released at the end
 * @param resumed whether the call holds one of the places of {@link Resume}
 * @param queuedNs since when it waits for a compute thread, by {@link System#nanoTime}
 */
record Inference(
    Call call, Named to, Slot<Held> slot, ByteBuf message, boolean resumed, long queuedNs)
    implements Runnable {
  private static final System.Logger LOG = System.getLogger(Inference.class.getName());

  /**
   * Puts it in the queue; the call hears how it ended.
   *
   * @return why there is no room for it, in which case the call hears nothing; null when there is
   */
  static @Nullable String start(Inference inference) {
    Dispatcher pod = inference.call.pod;
    int pins = inference.slot.pins();
    String full;
    if (pins > pod.mostForOneModel) {
      full =
          "%d calls run or wait for model '%s', one may have %d; computeQueue is %d"
              .formatted(
                  pins, inference.to.model().id(), pod.mostForOneModel, pod.config.computeQueue());
    } else {
      try {
        pod.compute.execute(inference);
        return null;
      } catch (RejectedExecutionException e) {
        full =
            "%d inferences wait for a compute thread, computeQueue is %d"
                .formatted(pod.compute.getQueue().size(), pod.config.computeQueue());
      }
    }
    inference.leave();
    inference.letGo();
    return full;
  }

  private void leave() {
    if (resumed) {
      call.pod.resume.leave();
    }
  }

  private void letGo() {
    slot.unpin();
    message.release();
  }

  @Override
  public void run() {
    long beganNs = System.nanoTime();
    call.pod.metrics.queued(beganNs - queuedNs);
    slot.waited(beganNs - queuedNs);
    leave();
    try {
      if (call.done()) {
        stats().cancelled(beganNs - call.startNs());
        return;
      }
      if (call.leftNs() <= 0) {
        stats().cancelled(beganNs - call.startNs());
        call.didNotRun(
            Status.DEADLINE_EXCEEDED.withDescription("the deadline passed before the call ran"));
        return;
      }
      infer(beganNs);
    } catch (RuntimeException | Error e) {
      stats().failed(System.nanoTime() - call.startNs());
      // Whatever it is, the caller must hear of it and its place be free again.
      call.didNotRun(
          Status.INTERNAL.withDescription(
              "model '%s' failed in pod '%s': %s"
                  .formatted(to.model().id(), call.pod.config.id(), e)));
      throw e;
    } finally {
      letGo();
    }
  }

  private ModelStats stats() {
    return slot.held().stats();
  }

  private void infer(long beganNs) {
    Dispatcher pod = call.pod;
    ModelInferRequest request;
    try {
      CodedInputStream in = bytes(message).newCodedInput();
      in.enableAliasing(true);
      request = ModelInferRequest.parseFrom(in);
    } catch (IOException e) {
      stats().failed(System.nanoTime() - call.startNs());
      call.didNotRun(
          Status.INVALID_ARGUMENT.withDescription(
              "the request is not a well-formed ModelInferRequest: " + e.getMessage()));
      return;
    }
    String id = pod.payloads.correlationId(request.getId(), call.headers);
    boolean sampled = pod.payloads.samples(id);
    if (sampled) {
      pod.payloads.request(id, to, ByteBufUtil.getBytes(message), call.headers);
    }
    LoadedModel model = slot.held().loaded();
    long runNs = System.nanoTime();
    try (Extended extended = extended(request)) {
      ModelInferResponse response =
          extended == null
              ? model.infer(request, call.cancellation)
              : extended.run(model, call.cancellation);
      long ranNs = System.nanoTime();
      if (extended != null) {
        response = extended.answer(response, BatchAxis.of(model.metadata()));
      }
      ByteBuf answer = Answers.framed(V2Answer.of(response, request, to));
      long doneNs = System.nanoTime();
      pod.metrics.ran(to, call.op, Status.Code.OK, doneNs - runNs);
      stats()
          .executed(
              1,
              BatchAxis.rows(model.metadata(), request),
              runNs - beganNs,
              ranNs - runNs,
              doneNs - ranNs,
              pod.clock.nowMs());
      stats().succeeded(beganNs - queuedNs, doneNs - call.startNs());
      if (sampled) {
        int length = answer.readableBytes() - Wire.PREFIX_BYTES;
        byte[] copy = ByteBufUtil.getBytes(answer, Wire.PREFIX_BYTES, length);
        pod.payloads.response(id, to, copy, call.headers);
      }
      call.ran(answer);
    } catch (InferenceException e) {
      failed(id, runNs, Statuses.of(e), e);
    } catch (StatusException e) {
      failed(id, runNs, e.getStatus(), e);
    } catch (RuntimeException e) {
      failed(
          id,
          runNs,
          Status.INTERNAL.withDescription(
              "model '%s' failed in pod '%s': %s".formatted(to.model().id(), pod.config.id(), e)),
          e);
    }
  }

  /** Null for a plain request. */
  private @Nullable Extended extended(ModelInferRequest request) throws StatusException {
    Status refused = to.refuseVersion(request.getModelVersion());
    if (refused != null) {
      throw refused.asException();
    }
    return Extended.of(call.pod.sharedMemory, call.pod.config.id(), request);
  }

  /** The same bytes, not copied where they lie in one piece. */
  private static ByteString bytes(ByteBuf message) {
    return message.nioBufferCount() == 1
        ? UnsafeByteOperations.unsafeWrap(message.nioBuffer())
        : UnsafeByteOperations.unsafeWrap(ByteBufUtil.getBytes(message));
  }

  private void failed(String id, long runNs, Status status, Exception cause) {
    call.pod.metrics.ran(to, call.op, status.getCode(), System.nanoTime() - runNs);
    long tookNs = System.nanoTime() - call.startNs();
    if (status.getCode() == Status.Code.CANCELLED) {
      stats().cancelled(tookNs);
    } else {
      stats().failed(tookNs);
    }
    if (status.getCode() == Status.Code.INTERNAL) {
      LOG.log(Level.WARNING, "{0}: {1}", status.getDescription(), cause);
    }
    call.pod.payloads.failure(id, to, status, call.headers);
    call.didNotRun(status);
  }
}
