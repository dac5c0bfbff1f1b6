package orlop.pod;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedInputStream;
import com.google.protobuf.UnsafeByteOperations;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import java.io.IOException;
import java.lang.System.Logger.Level;
import orlop.runtime.Cancellation;
import orlop.runtime.InferenceException;

/** One inference in this process, from encoded request to encoded answer, on a compute thread. */
final class Inference {
  private static final System.Logger LOG = System.getLogger(Inference.class.getName());

  private Inference() {}

  /** What came of it. */
  sealed interface Result {}

  /**
   * @param framed the answer behind its gRPC prefix, to be released
   */
  record Answer(ByteBuf framed) implements Result {}

  record Failure(Status status) implements Result {}

  /**
   * Runs the model.
   *
   * @param message the request, which is read in place and must not go before this returns
   */
  static Result run(
      Dispatcher pod,
      Named to,
      Held held,
      ByteBuf message,
      RequestHeaders headers,
      Cancellation cancellation) {
    ModelInferRequest request;
    try {
      CodedInputStream in = bytes(message).newCodedInput();
      in.enableAliasing(true);
      request = ModelInferRequest.parseFrom(in);
    } catch (IOException e) {
      return new Failure(
          Status.INVALID_ARGUMENT.withDescription(
              "the request is not a well-formed ModelInferRequest: " + e.getMessage()));
    }
    String id = pod.payloads.correlationId(request.getId(), headers);
    boolean sampled = pod.payloads.samples(id);
    if (sampled) {
      pod.payloads.request(id, to, ByteBufUtil.getBytes(message), headers);
    }
    long runNs = System.nanoTime();
    try {
      ModelInferResponse response = held.loaded().infer(request, cancellation);
      ModelInferResponse named =
          response.getModelName().equals(to.asked())
              ? response
              : response.toBuilder().setModelName(to.asked()).build();
      ByteBuf answer = Answers.framed(named);
      pod.metrics.ran(System.nanoTime() - runNs);
      if (sampled) {
        int length = answer.readableBytes() - Wire.PREFIX_BYTES;
        byte[] copy = ByteBufUtil.getBytes(answer, Wire.PREFIX_BYTES, length);
        pod.payloads.response(id, to, copy, headers);
      }
      return new Answer(answer);
    } catch (InferenceException e) {
      return failed(pod, to, id, Statuses.of(e), headers, e);
    } catch (RuntimeException e) {
      Status status =
          Status.INTERNAL.withDescription(
              "model '%s' failed in pod '%s': %s".formatted(to.model().id(), pod.config.id(), e));
      return failed(pod, to, id, status, headers, e);
    }
  }

  /** The same bytes, not copied where they lie in one piece. */
  private static ByteString bytes(ByteBuf message) {
    return message.nioBufferCount() == 1
        ? UnsafeByteOperations.unsafeWrap(message.nioBuffer())
        : UnsafeByteOperations.unsafeWrap(ByteBufUtil.getBytes(message));
  }

  private static Failure failed(
      Dispatcher pod, Named to, String id, Status status, RequestHeaders headers, Exception cause) {
    if (status.getCode() == Status.Code.INTERNAL) {
      LOG.log(Level.WARNING, "{0}: {1}", status.getDescription(), cause);
    }
    pod.payloads.failure(id, to, status, headers);
    return new Failure(status);
  }
}
