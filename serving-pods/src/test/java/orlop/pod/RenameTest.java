package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.UnknownFieldSet;
import inference.ModelInferRequest;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.Unpooled;
import java.io.ByteArrayOutputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.zip.GZIPOutputStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/**
 * Whatever pieces a stream of messages comes in, what leaves are the same messages with the name
 * changed, and nothing else; and what is kept back of them stays small. Method: random messages and
 * paths, compared field by field.
 */
class RenameTest {
  private static final int ROUNDS = 5_000;

  /** What passes a part on. */
  private interface Step {
    @Nullable ByteBuf next(ByteBuf part) throws Compression.Unreadable;
  }

  @Test
  void changesTheNameOfEveryAnswerAndNothingElse() throws Exception {
    Random random = new Random(7);
    for (int round = 0; round < ROUNDS; round++) {
      int[] path = random.ints(1 + random.nextInt(4), 1, 40).toArray();
      String name = "n".repeat(1 + random.nextInt(300));
      UnknownFieldSet[] sent = messages(random, path);
      Rename rename = new Rename(name, path, random.nextInt(3) == 0 ? 1 << 20 : 1 << 16);
      UnknownFieldSet[] got = passed(rename::next, sent, random, round);
      assertNull(rename.rest(), "something was kept back to the end");
      for (int i = 0; i < sent.length; i++) {
        List<String> expected = names(sent[i], path, 0).isEmpty() ? List.of() : List.of(name);
        assertEquals(expected, names(got[i], path, 0), () -> "path " + Arrays.toString(path));
        assertEquals(others(sent[i], path, 0), others(got[i], path, 0));
      }
    }
  }

  @Test
  void theIdIsTheLastNameOfEveryRequestAndNothingElseChanges() throws Exception {
    Random random = new Random(8);
    for (int round = 0; round < ROUNDS; round++) {
      int[] path = random.ints(1 + random.nextInt(4), 1, 40).toArray();
      String id = "n".repeat(1 + random.nextInt(300));
      UnknownFieldSet[] sent = messages(random, path);
      Stamp stamp = new Stamp(id, path, 1 << 20);
      UnknownFieldSet[] got = passed(stamp::next, sent, random, round);
      stamp.end();
      for (int i = 0; i < sent.length; i++) {
        List<String> expected = new ArrayList<>(names(sent[i], path, 0));
        expected.add(id);
        assertEquals(expected, names(got[i], path, 0), () -> "path " + Arrays.toString(path));
        assertEquals(others(sent[i], path, 0), others(got[i], path, 0));
      }
    }
  }

  @Test
  void aCompressedRequestPassesUncompressedWithTheId() throws Exception {
    byte[] plain = message(new Random(1), new int[] {2, 3}, 0, true).toByteArray();
    ByteArrayOutputStream packed = new ByteArrayOutputStream();
    try (GZIPOutputStream gzip = new GZIPOutputStream(packed)) {
      gzip.write(plain);
    }
    byte[] framed = framed(packed.toByteArray());
    framed[0] = 1;
    Stamp stamp = new Stamp("new", new int[] {2, 3}, 1 << 20).decompressing("gzip");
    byte[] out = pass(stamp::next, framed, new Random(2), 0);
    UnknownFieldSet got = UnknownFieldSet.parseFrom(ByteString.copyFrom(out, 5, out.length - 5));
    assertEquals(0, out[0]);
    assertEquals("new", names(got, new int[] {2, 3}, 0).getLast());
    assertEquals(0, stamp.keptBytes());
  }

  @Test
  void aMessageMarkedAsCompressedDoesNotPassUnread() {
    byte[] framed = framed(named("other"));
    framed[0] = 1;
    Stamp stamp = new Stamp("id", NamePeek.FIRST, 1 << 20);
    assertThrows(Compression.Unreadable.class, () -> stamp.next(Unpooled.wrappedBuffer(framed)));
  }

  @Test
  void aStreamThatNamesAnotherModelLaterIsRefused() throws Exception {
    Stamp stamp = new Stamp("id", NamePeek.FIRST, 1 << 20).only(Set.of("id", "alias"));
    for (String name : List.of("alias", "id")) {
      ByteBuf passed = stamp.next(Unpooled.wrappedBuffer(framed(named(name))));
      assertNotNull(passed);
      // One that says the id already stays as it is.
      List<String> expected = name.equals("id") ? List.of("id") : List.of(name, "id");
      assertEquals(expected, names(UnknownFieldSet.parseFrom(body(passed)), NamePeek.FIRST, 0));
    }
    assertEquals(
        "a stream for model 'id' carries a request for 'other': open one for each",
        refusal(stamp, framed(named("other"))));
  }

  @Test
  void aSecondNameBehindTheTensorDoesNotRunAnotherModel() throws Exception {
    byte[] tensor =
        ModelInferRequest.newBuilder()
            .setModelName("A")
            .addRawInputContents(ByteString.copyFrom(new byte[100_000]))
            .build()
            .toByteArray();
    ByteArrayOutputStream both = new ByteArrayOutputStream();
    both.writeBytes(tensor);
    both.writeBytes(named("B"));
    Stamp stamp = new Stamp("A", NamePeek.FIRST, 1 << 20);
    byte[] out = pass(stamp::next, framed(both.toByteArray()), new Random(3), 1);
    ModelInferRequest read =
        ModelInferRequest.parseFrom(ByteString.copyFrom(out, 5, out.length - 5));
    assertEquals(ModelInferRequest.parseFrom(tensor), read);
  }

  @Test
  void aRequestThatSaysTheIdLastStaysAsItIs() throws Exception {
    for (String last : List.of("id", "B", "")) {
      ByteArrayOutputStream message = new ByteArrayOutputStream();
      message.writeBytes(named("id"));
      message.writeBytes(named(last));
      byte[] framed = framed(message.toByteArray());
      ByteBuf out =
          new Stamp("id", NamePeek.FIRST, 1 << 20).next(Unpooled.wrappedBuffer(framed.clone()));
      assertNotNull(out);
      assertEquals(last.equals("id"), out.equals(Unpooled.wrappedBuffer(framed)));
      assertEquals("id", ModelInferRequest.parseFrom(body(out)).getModelName());
    }
  }

  @Test
  void aFieldThatWouldSwallowTheIdIsRefused() {
    byte[] swallows = new byte[] {10, 1, 'B', 7 << 3 | 2, 4};
    byte[] group = new byte[] {10, 1, 'B', 7 << 3 | 3};
    byte[] number = new byte[] {10, 1, 'B', 7 << 3, (byte) 0x80};
    for (byte[] message : List.of(swallows, group, number)) {
      Stamp stamp = new Stamp("id", NamePeek.FIRST, 1 << 20);
      String why = refusal(stamp, framed(message));
      assertTrue(why.startsWith("the request is not a well-formed protobuf message: "), why);
    }
  }

  @Test
  void aRequestThatIsCutOffIsRefused() throws Exception {
    byte[] framed = framed(named("A"));
    for (int bytes = 1; bytes < framed.length; bytes++) {
      Stamp stamp = new Stamp("id", NamePeek.FIRST, 1 << 20);
      ByteBuf unused = stamp.next(Unpooled.wrappedBuffer(framed, 0, bytes));
      assertThrows(Compression.Unreadable.class, stamp::end);
    }
  }

  @Test
  void manySmallMessagesLeaveInOneFlatBuffer() throws Exception {
    int messages = 200_000;
    ByteBuf in = Unpooled.buffer(messages * 5).writeZero(messages * 5);
    for (Step step :
        List.<Step>of(
            new Rename("new", NamePeek.FIRST, 1 << 16)::next,
            new Stamp("new", NamePeek.FIRST, 1 << 20)::next)) {
      ByteBuf out = step.next(in.copy());
      assertNotNull(out);
      assertEquals(1, out.nioBufferCount());
      assertTrue(out.readableBytes() >= messages * 5);
      out.release();
    }
  }

  @Test
  void aMessageInSinglesHoldsNoReceiveBuffer() throws Exception {
    byte[] framed =
        framed(
            UnknownFieldSet.newBuilder()
                .mergeField(7, bytes(ByteString.copyFrom(new byte[1 << 17])))
                .build()
                .toByteArray());
    Rename rename = new Rename("new", NamePeek.FIRST, 1 << 16);
    Stamp stamp = new Stamp("new", NamePeek.FIRST, 1 << 20);
    for (Step step : List.<Step>of(rename::next, stamp::next)) {
      for (byte single : framed) {
        ByteBuf part = Unpooled.buffer(1).writeByte(single);
        ByteBuf passed = step.next(part);
        assertEquals(0, part.refCnt());
        assertEquals(0, stamp.keptBytes());
        if (passed != null) {
          passed.release();
        }
      }
    }
    stamp.end();
  }

  private static String refusal(Stamp stamp, byte[] framed) {
    Compression.Unreadable refused =
        assertThrows(
            Compression.Unreadable.class, () -> stamp.next(Unpooled.wrappedBuffer(framed)));
    return String.valueOf(refused.status().getDescription());
  }

  private static UnknownFieldSet[] messages(Random random, int[] path) {
    UnknownFieldSet[] messages = new UnknownFieldSet[1 + random.nextInt(4)];
    Arrays.setAll(messages, i -> message(random, path, 0, random.nextInt(4) > 0));
    return messages;
  }

  private static UnknownFieldSet[] passed(
      Step step, UnknownFieldSet[] sent, Random random, int round) throws Exception {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    for (UnknownFieldSet message : sent) {
      all.write(framed(message.toByteArray()));
    }
    byte[] received = pass(step, all.toByteArray(), random, round);
    UnknownFieldSet[] got = new UnknownFieldSet[sent.length];
    int at = 0;
    for (int i = 0; i < got.length; i++) {
      int length = Unpooled.wrappedBuffer(received).getInt(at + 1);
      got[i] = UnknownFieldSet.parseFrom(ByteString.copyFrom(received, at + 5, length));
      at += 5 + length;
    }
    assertEquals(received.length, at);
    return got;
  }

  private static byte[] named(String name) {
    return UnknownFieldSet.newBuilder()
        .mergeField(1, bytes(ByteString.copyFromUtf8(name)))
        .build()
        .toByteArray();
  }

  private static ByteString body(ByteBuf framed) {
    return ByteString.copyFrom(ByteBufUtil.getBytes(framed, 5, framed.readableBytes() - 5));
  }

  private static byte[] pass(Step step, byte[] in, Random random, int round) throws Exception {
    ByteBuf out = Unpooled.buffer();
    List<ByteBuf> parts = new ArrayList<>();
    int at = 0;
    while (at < in.length) {
      int bytes = Math.min(in.length - at, 1 + random.nextInt(round % 2 == 0 ? 7 : 4_000));
      ByteBuf part = Unpooled.copiedBuffer(in, at, bytes);
      parts.add(part);
      at += bytes;
      ByteBuf passed = step.next(part);
      if (passed != null) {
        out.writeBytes(passed);
        passed.release();
      }
    }
    parts.forEach(part -> assertEquals(0, part.refCnt(), "a part was not released"));
    return ByteBufUtil.getBytes(out);
  }

  private static byte[] framed(byte[] message) {
    ByteBuf framed = Answers.framed(message);
    return ByteBufUtil.getBytes(framed);
  }

  /** Fields before and after, on each level, and the name at the end of the path or not at all. */
  private static UnknownFieldSet message(Random random, int[] path, int depth, boolean there) {
    UnknownFieldSet.Builder message = UnknownFieldSet.newBuilder();
    for (int i = random.nextInt(3); i > 0; i--) {
      noise(random, path[depth], message);
    }
    if (there) {
      ByteString value =
          depth == path.length - 1
              ? ByteString.copyFromUtf8("old" + random.nextInt(1_000))
              : message(random, path, depth + 1, true).toByteString();
      message.mergeField(path[depth], bytes(value));
    }
    for (int i = random.nextInt(3); i > 0; i--) {
      noise(random, path[depth], message);
    }
    return message.build();
  }

  private static void noise(Random random, int not, UnknownFieldSet.Builder into) {
    int number = 1 + random.nextInt(60);
    if (number == not) {
      return;
    }
    into.mergeField(
        number,
        switch (random.nextInt(3)) {
          case 0 -> UnknownFieldSet.Field.newBuilder().addVarint(random.nextLong()).build();
          case 1 -> UnknownFieldSet.Field.newBuilder().addFixed32(random.nextInt()).build();
          default -> bytes(ByteString.copyFrom(new byte[random.nextInt(500)]));
        });
  }

  private static UnknownFieldSet.Field bytes(ByteString value) {
    return UnknownFieldSet.Field.newBuilder().addLengthDelimited(value).build();
  }

  private static List<String> names(UnknownFieldSet message, int[] path, int depth)
      throws InvalidProtocolBufferException {
    List<String> names = new ArrayList<>();
    for (ByteString value : message.getField(path[depth]).getLengthDelimitedList()) {
      if (depth == path.length - 1) {
        names.add(value.toStringUtf8());
      } else {
        names.addAll(names(UnknownFieldSet.parseFrom(value), path, depth + 1));
      }
    }
    return names;
  }

  /** The message without the name and without what only leads to it. */
  private static UnknownFieldSet others(UnknownFieldSet message, int[] path, int depth)
      throws InvalidProtocolBufferException {
    UnknownFieldSet.Builder rest = message.toBuilder().clearField(path[depth]);
    if (depth < path.length - 1) {
      for (ByteString value : message.getField(path[depth]).getLengthDelimitedList()) {
        UnknownFieldSet inner = others(UnknownFieldSet.parseFrom(value), path, depth + 1);
        if (!inner.asMap().isEmpty()) {
          rest.mergeField(path[depth], bytes(inner.toByteString()));
        }
      }
    }
    return rest.build();
  }
}
