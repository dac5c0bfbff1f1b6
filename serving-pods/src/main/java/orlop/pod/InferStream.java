package orlop.pod;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.WireFormat;
import inference.GRPCInferenceServiceGrpc;
import inference.InferParameter;
import inference.ModelInferResponse;
import inference.ModelStreamInferResponse;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.ServerCall;
import io.grpc.Status;
import io.grpc.SynchronizationContext;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.System.Logger.Level;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * One {@code ModelStreamInfer} whose first model runs in this pod's process: each message is an
 * inference of its own, which goes where its model is, and the answers come in the order of the
 * messages. A message that fails is answered with its error and the stream goes on.
 *
 * <p>At most {@link #MAX_RUNNING} messages are under way, answered and not yet taken by the caller
 * included; the next is asked for when one of them has left. All state is owned by {@link #turns}.
 */
final class InferStream extends ServerCall.Listener<byte[]> {
  static final int MAX_RUNNING = 64;

  /** Callers who want the first error to end the stream, as its status, say so by this header. */
  private static final Metadata.Key<String> AS_STATUS = Named.ascii("triton_grpc_error");

  private static final Status LEAVES =
      Status.UNAVAILABLE.withDescription("the pod drains; no request of this stream is under way");

  private static final System.Logger LOG = System.getLogger(InferStream.class.getName());
  private static final int NAME = 1;
  private static final int ID = 3;

  /** Messages stay as they came: only their name and id are looked at here. */
  private static final MethodDescriptor.Marshaller<byte[]> BYTES =
      new MethodDescriptor.Marshaller<>() {
        @Override
        public InputStream stream(byte[] message) {
          return new ByteArrayInputStream(message);
        }

        @Override
        public byte[] parse(InputStream message) {
          try {
            return message.readAllBytes();
          } catch (IOException e) {
            throw new UncheckedIOException("a message that has arrived cannot be read", e);
          }
        }
      };

  static final MethodDescriptor<byte[], byte[]> METHOD =
      GRPCInferenceServiceGrpc.getModelStreamInferMethod().toBuilder(BYTES, BYTES).build();

  /**
   * What Triton adds to each answer of a stream: that it is the last one to its request. Fields of
   * a message may come in any order, so these bytes can follow an encoded answer.
   */
  private static final byte[] LAST_ANSWER =
      ModelInferResponse.newBuilder()
          .putParameters(
              "triton_final_response", InferParameter.newBuilder().setBoolParam(true).build())
          .build()
          .toByteArray();

  /** Those of a pod that have not ended. Thread-safe. */
  static final class Open {
    private final Set<InferStream> all = ConcurrentHashMap.newKeySet();
    private volatile boolean leaving;

    private void add(InferStream stream) {
      all.add(stream);
      if (leaving) {
        stream.leave();
      }
    }

    private void remove(InferStream stream) {
      all.remove(stream);
    }

    /** The pod takes no more calls: each ends once it is idle, as do those that come yet. */
    void leave() {
      leaving = true;
      all.forEach(InferStream::leave);
    }
  }

  /** A message under way, with its answer once there is one. */
  private static final class Turn {
    final String name;
    final String id;
    @Nullable Call call;
    byte @Nullable [] answer;
    @Nullable Status failure;

    Turn(String name, String id) {
      this.name = name;
      this.id = id;
    }

    int answerBytes() {
      byte[] known = answer;
      return known == null ? 0 : known.length;
    }

    boolean ended() {
      return answer != null || failure != null;
    }
  }

  private final Dispatcher pod;
  private final ServerCall<byte[], byte[]> client;
  private final Metadata headers;
  private final boolean asStatus;
  private final @Nullable Deadline deadline;
  private final Deque<Turn> running = new ArrayDeque<>();
  private final SynchronizationContext turns =
      new SynchronizationContext(
          (thread, e) -> LOG.log(Level.ERROR, "a step of an inference stream failed", e));

  /** Messages that were asked of the caller and have not come. */
  private int asked;

  private boolean halfClosed;
  private boolean leaving;
  private boolean over;

  private InferStream(Dispatcher pod, ServerCall<byte[], byte[]> client, Metadata headers) {
    this.pod = pod;
    this.client = client;
    this.headers = onward(headers);
    this.asStatus = "true".equalsIgnoreCase(headers.get(AS_STATUS));
    this.deadline = io.grpc.Context.current().getDeadline();
  }

  /** What of the stream's headers each of its messages takes along: not what is about its bytes. */
  private static Metadata onward(Metadata headers) {
    Metadata onward = new Metadata();
    for (String name : headers.keys()) {
      boolean transport =
          name.startsWith("grpc-")
              || name.equals("content-type")
              || name.equals("te")
              || name.equals("user-agent");
      if (transport) {
        continue;
      }
      if (name.endsWith(Metadata.BINARY_HEADER_SUFFIX)) {
        copy(headers, Metadata.Key.of(name, Metadata.BINARY_BYTE_MARSHALLER), onward);
      } else {
        copy(headers, Named.ascii(name), onward);
      }
    }
    return onward;
  }

  private static <T> void copy(Metadata from, Metadata.Key<T> key, Metadata to) {
    T value = from.get(key);
    if (value != null) {
      to.put(key, value);
    }
  }

  static ServerCall.Listener<byte[]> start(
      Dispatcher pod, ServerCall<byte[], byte[]> client, Metadata headers) {
    InferStream stream = new InferStream(pod, client, headers);
    client.sendHeaders(new Metadata());
    stream.turns.execute(stream::ask);
    pod.streams.add(stream);
    return stream;
  }

  @Override
  public void onMessage(byte[] message) {
    turns.execute(() -> begin(message));
  }

  @Override
  public void onHalfClose() {
    turns.execute(
        () -> {
          halfClosed = true;
          send();
        });
  }

  @Override
  public void onReady() {
    turns.execute(this::send);
  }

  @Override
  public void onCancel() {
    turns.execute(
        () -> {
          over = true;
          letGo();
        });
  }

  /** Reads no further and ends once nothing is under way, so that its caller goes elsewhere. */
  void leave() {
    turns.execute(
        () -> {
          leaving = true;
          send();
        });
  }

  private void begin(byte[] message) {
    asked--;
    if (over) {
      return;
    }
    Turn turn = turn(message);
    running.add(turn);
    if (!turn.ended()) {
      // Its answer may come before this returns, on another thread: it takes its turn after this.
      turn.call =
          pod.begin(
              Op.INFER,
              message,
              headers,
              turn.name,
              deadline,
              (status, trailers, bytes) -> turns.execute(() -> ended(turn, status, bytes)));
    }
    send();
  }

  /** Which model the message is for and which id it has; the tensors are passed over. */
  private static Turn turn(byte[] message) {
    String name = "";
    String id = "";
    CodedInputStream in = CodedInputStream.newInstance(message);
    try {
      for (int tag = in.readTag(); tag != 0; tag = in.readTag()) {
        boolean text = WireFormat.getTagWireType(tag) == WireFormat.WIRETYPE_LENGTH_DELIMITED;
        if (text && WireFormat.getTagFieldNumber(tag) == NAME) {
          name = in.readStringRequireUtf8();
        } else if (text && WireFormat.getTagFieldNumber(tag) == ID) {
          id = in.readStringRequireUtf8();
        } else {
          in.skipField(tag);
        }
      }
      return new Turn(name, id);
    } catch (IOException e) {
      Turn turn = new Turn(name, id);
      turn.failure =
          Status.INVALID_ARGUMENT.withDescription(
              "the request is not a well-formed ModelInferRequest: " + e.getMessage());
      return turn;
    }
  }

  private void ended(Turn turn, Status status, byte @Nullable [] answer) {
    turn.call = null;
    if (over) {
      return;
    }
    if (answer != null) {
      turn.answer = answer;
      // Should there be no room for it, the requests that come next are refused.
      boolean room = pod.hold(answer.length);
      LOG.log(room ? Level.TRACE : Level.DEBUG, "an answer of {0} bytes waits", answer.length);
    } else {
      turn.failure = status;
    }
    send();
  }

  /** Sends what is ready and next in line, as far as the caller takes it. */
  private void send() {
    while (!over && client.isReady()) {
      Turn next = running.peek();
      if (next == null || !next.ended()) {
        break;
      }
      running.remove();
      pod.release(next.answerBytes());
      Status failure = next.failure;
      if (failure != null && asStatus) {
        end(failure);
        return;
      }
      client.sendMessage(failure == null ? answer(next.answer) : error(next, failure));
    }
    if (!over && running.isEmpty() && (halfClosed || leaving)) {
      end(halfClosed ? Status.OK : LEAVES);
    } else {
      ask();
    }
  }

  private void ask() {
    int room = MAX_RUNNING - running.size() - asked;
    if (!over && !halfClosed && !leaving && room > 0) {
      asked += room;
      client.request(room);
    }
  }

  private void end(Status status) {
    over = true;
    client.close(status, new Metadata());
    letGo();
  }

  private void letGo() {
    pod.streams.remove(this);
    for (Turn turn = running.poll(); turn != null; turn = running.poll()) {
      pod.release(turn.answerBytes());
      if (turn.call != null) {
        turn.call.cancel();
      }
    }
  }

  /** Field 2 of the stream's message around an encoded answer. */
  private static byte[] answer(byte @Nullable [] encoded) {
    byte[] inner = encoded == null ? new byte[0] : encoded;
    int length = inner.length + LAST_ANSWER.length;
    int field = ModelStreamInferResponse.INFER_RESPONSE_FIELD_NUMBER;
    byte[] out =
        new byte
            [CodedOutputStream.computeTagSize(field)
                + CodedOutputStream.computeUInt32SizeNoTag(length)
                + length];
    try {
      CodedOutputStream coded = CodedOutputStream.newInstance(out);
      coded.writeTag(field, WireFormat.WIRETYPE_LENGTH_DELIMITED);
      coded.writeUInt32NoTag(length);
      coded.writeRawBytes(inner);
      coded.writeRawBytes(LAST_ANSWER);
      coded.checkNoSpaceLeft();
    } catch (IOException e) {
      throw new UncheckedIOException("memory refused to be written", e);
    }
    return out;
  }

  private static byte[] error(Turn turn, Status failure) {
    String text = failure.getDescription();
    return ModelStreamInferResponse.newBuilder()
        .setErrorMessage(text == null ? failure.getCode().name() : text)
        .setInferResponse(
            ModelInferResponse.newBuilder()
                .setModelName(turn.name)
                .setId(turn.id)
                .putParameters(
                    "triton_final_response",
                    InferParameter.newBuilder().setBoolParam(true).build()))
        .build()
        .toByteArray();
  }
}
