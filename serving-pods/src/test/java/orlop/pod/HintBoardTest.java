package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.netty.handler.codec.http2.DefaultHttp2Headers;
import io.netty.handler.codec.http2.Http2Headers;
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
    Http2Headers trailers = new DefaultHttp2Headers();
    one.tell(trailers);
    assertEquals(0, trailers.size());
    one.own(WORD);
    one.tell(trailers);
    assertEquals(WORD, HintBoard.parse(String.valueOf(trailers.get(Headers.LOAD))));
    HintBoard other = new HintBoard("b");
    other.hear("a", trailers, WORD.atMs());
    assertEquals(1, other.hints().size());
    assertEquals(0, trailers.size(), "a pod's word is not for the client");
  }

  @Test
  void whatCannotBeReadTellsNothing() {
    for (String text : new String[] {"", "1", "1;2;3;4;5", "a;1;1;1;1;true", "1;1;1;-1;1;true"}) {
      assertNull(HintBoard.parse(text), text);
    }
    Http2Headers headers = new DefaultHttp2Headers();
    assertEquals(-1, HintBoard.promisedMs(RequestHeaders.of(headers)));
    headers.set(Headers.PROMISED, "soon");
    assertEquals(-1, HintBoard.promisedMs(RequestHeaders.of(headers)));
    HintBoard.promise(headers, 250);
    assertEquals(250, HintBoard.promisedMs(RequestHeaders.of(headers)));
    HintBoard.promise(headers, -1);
    assertEquals(-1, HintBoard.promisedMs(RequestHeaders.of(headers)));
  }
}
