package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.grpc.Metadata;
import org.junit.jupiter.api.Test;
import orlop.api.Headers;
import orlop.placement.Hints;
import orlop.placement.Memory;

/** What pods tell each other in answers. */
class HintBoardTest {
  private static final Hints.Heard WORD =
      new Hints.Heard(1_700_000_000_000L, 3, 4_500, new Memory(7, 8), true);

  @Test
  void aWordComesBackAsItWasSaid() {
    HintBoard one = new HintBoard("a");
    Metadata trailers = new Metadata();
    one.tell(trailers);
    assertEquals(0, trailers.keys().size());
    one.own(WORD);
    one.tell(trailers);
    assertEquals(WORD, HintBoard.parse(trailers.get(Named.ascii(Headers.LOAD))));
    HintBoard other = new HintBoard("b");
    other.hear("a", trailers, WORD.atMs());
    assertEquals(1, other.hints().size());
  }

  @Test
  void whatCannotBeReadTellsNothing() {
    for (String text : new String[] {"", "1", "1;2;3;4;5", "a;1;1;1;1;true", "1;1;1;-1;1;true"}) {
      assertNull(HintBoard.parse(text), text);
    }
    Metadata headers = new Metadata();
    assertEquals(-1, HintBoard.promisedMs(headers));
    headers.put(Named.ascii(Headers.PROMISED), "soon");
    assertEquals(-1, HintBoard.promisedMs(headers));
    assertEquals(250, HintBoard.promisedMs(HintBoard.promise(headers, 250)));
    assertEquals(-1, HintBoard.promisedMs(HintBoard.promise(headers, -1)));
  }
}
