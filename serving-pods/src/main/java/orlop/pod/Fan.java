package orlop.pod;

import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.Unpooled;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.util.AsciiString;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import orlop.api.Headers;

/**
 * One request for several models, which its headers name: each gets it, some at a time, and the
 * caller gets their answers as one message, in the order of the headers. Joined protobuf messages
 * are one message with the fields of all.
 *
 * <p>Owned by the event loop of the call that it belongs to.
 */
final class Fan {
  private final Call whole;
  private final Metadata headers;
  private final Metadata.Key<byte[]> name;
  private final List<String> models;

  /** The failures that leave a model out instead of failing the call. */
  private final Predicate<Status.Code> leftOut;

  private final @Nullable ByteBuf[] answers;
  private final List<Call> running = new ArrayList<>();
  private byte[] message = {};
  private int begun;
  private int ended;
  private long answerBytes;
  private @Nullable Status failure;

  private Fan(
      Call whole,
      Http2Headers received,
      List<String> models,
      String header,
      Predicate<Status.Code> leftOut) {
    this.whole = whole;
    this.models = models;
    this.leftOut = leftOut;
    this.answers = new ByteBuf[models.size()];
    this.headers = metadata(received);
    this.name = Metadata.Key.of(header + "-bin", Metadata.BINARY_BYTE_MARSHALLER);
  }

  /**
   * Null for a call that names one model, or none.
   *
   * @throws IllegalArgumentException when it does not say in a known way which of them must answer
   */
  static @Nullable Fan of(Call whole, Http2Headers headers) {
    if (!several(headers, Wire.MODEL, Wire.MODEL_BIN)
        && !several(headers, Wire.ALIAS, Wire.ALIAS_BIN)) {
      return null;
    }
    CharSequence required = headers.get(Wire.REQUIRED);
    Predicate<Status.Code> leftOut = leftOut(required == null ? "" : required.toString());
    List<String> ids = values(headers, Wire.MODEL, Wire.MODEL_BIN);
    return ids.isEmpty()
        ? new Fan(
            whole, headers, values(headers, Wire.ALIAS, Wire.ALIAS_BIN), Headers.VMODEL_ID, leftOut)
        : new Fan(whole, headers, ids, Headers.MODEL_ID, leftOut);
  }

  /** Who does not say gets the answers of those that are there, as from ModelMesh. */
  private static Predicate<Status.Code> leftOut(String required) {
    return switch (required.toLowerCase(Locale.ROOT)) {
      case "all" -> code -> false;
      case "any" -> code -> true;
      case "" -> code -> code == Status.Code.NOT_FOUND;
      default ->
          throw new IllegalArgumentException(
              "header " + Headers.REQUIRED + " is '" + required + "', expected all or any");
    };
  }

  private static boolean several(Http2Headers headers, AsciiString text, AsciiString bytes) {
    CharSequence packed = headers.get(bytes);
    if (packed != null && AsciiString.indexOf(packed, ',', 0) >= 0) {
      return true;
    }
    return more(headers, text, packed == null ? 1 : 0) || packed != null && more(headers, bytes, 1);
  }

  /** Whether the header stands there more often than that. */
  private static boolean more(Http2Headers headers, AsciiString name, int than) {
    Iterator<CharSequence> values = headers.valueIterator(name);
    for (int i = 0; i < than && values.hasNext(); i++) {
      values.next();
    }
    return values.hasNext();
  }

  private static List<String> values(Http2Headers headers, AsciiString text, AsciiString bytes) {
    List<String> values = new ArrayList<>();
    for (Map.Entry<CharSequence, CharSequence> header : headers) {
      if (AsciiString.contentEquals(text, header.getKey())) {
        values.add(header.getValue().toString());
      } else if (AsciiString.contentEquals(bytes, header.getKey())) {
        for (String one : header.getValue().toString().split(",", -1)) {
          values.add(new String(Base64.getDecoder().decode(one.strip()), StandardCharsets.UTF_8));
        }
      }
    }
    return values;
  }

  /** What goes on to each model: all but what is HTTP's, gRPC's or a model's name. */
  private static Metadata metadata(Http2Headers received) {
    Metadata metadata = new Metadata();
    for (Map.Entry<CharSequence, CharSequence> header : received) {
      String name = header.getKey().toString();
      boolean ours =
          name.startsWith(":")
              || name.startsWith("grpc-")
              || name.startsWith(Headers.MODEL_ID)
              || name.startsWith(Headers.VMODEL_ID)
              || name.equals("te")
              || name.equals("content-type");
      if (ours) {
        continue;
      }
      String value = header.getValue().toString();
      if (!name.endsWith(Metadata.BINARY_HEADER_SUFFIX)) {
        metadata.put(Named.ascii(name), value);
      } else {
        try {
          metadata.put(
              Metadata.Key.of(name, Metadata.BINARY_BYTE_MARSHALLER),
              Base64.getDecoder().decode(value));
        } catch (IllegalArgumentException e) {
          // Not ours to judge, and not to be passed on twice.
        }
      }
    }
    return metadata;
  }

  /** All of the request is there. */
  void begin(ByteBuf request) {
    message = ByteBufUtil.getBytes(request);
    request.release();
    int parallel = Math.min(whole.pod.config.multiModelParallelism(), models.size());
    for (int i = 0; i < parallel; i++) {
      next();
    }
  }

  private void next() {
    if (whole.done() || begun == models.size()) {
      return;
    }
    int index = begun++;
    Metadata named = new Metadata();
    named.merge(headers);
    named.put(name, models.get(index).getBytes(StandardCharsets.UTF_8));
    running.add(
        whole.pod.begin(
            whole.op,
            message,
            named,
            "",
            Deadline.after(whole.leftNs(), TimeUnit.NANOSECONDS),
            (status, trailers, answer) ->
                whole.loop.executor.execute(() -> ended(index, status, answer))));
  }

  private void ended(int index, Status status, byte @Nullable [] answer) {
    if (whole.done()) {
      return;
    }
    ended++;
    if (status.isOk() && answer != null) {
      answers[index] = Unpooled.wrappedBuffer(answer);
      answerBytes += answer.length;
      if (answerBytes > whole.pod.config.maxMessageBytes()) {
        whole.fail(
            Status.RESOURCE_EXHAUSTED.withDescription(
                "the answers of %d of %d models have %d bytes, maxMessageBytes is %d"
                    .formatted(
                        ended, models.size(), answerBytes, whole.pod.config.maxMessageBytes())));
        cancel();
        return;
      }
    } else {
      Status told =
          status.withDescription(
              "model '%s' of %d: %s"
                  .formatted(models.get(index), models.size(), status.getDescription()));
      failure = told;
      if (!leftOut.test(status.getCode())) {
        whole.fail(told);
        cancel();
        return;
      }
    }
    if (ended == models.size()) {
      finish();
    } else {
      next();
    }
  }

  private void finish() {
    List<ByteBuf> parts = new ArrayList<>();
    for (ByteBuf answer : answers) {
      if (answer != null) {
        parts.add(answer);
      }
    }
    Status none = failure;
    if (parts.isEmpty() && none != null) {
      whole.fail(none);
    } else {
      whole.answer(Answers.framed(Unpooled.wrappedBuffer(parts.toArray(ByteBuf[]::new))));
    }
  }

  /** Nobody waits for the answer any more. */
  void cancel() {
    running.forEach(Call::cancel);
  }
}
