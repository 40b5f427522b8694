from tests.api.test_calls import *
import sys, traceback
def run_one(tmp_path):
    out = tmp_path / "results" / "mine"
    main = threading.main_thread().ident
    log=[]
    def interrupt():
        while not list((out / "rows").glob("*")):
            time.sleep(0.05)
        log.append((signal.getsignal(signal.SIGINT), "".join(traceback.format_stack(sys._current_frames()[main])[-6:])))
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        log.append((signal.getsignal(signal.SIGINT), "".join(traceback.format_stack(sys._current_frames()[main])[-6:])))
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        search_by_objects(out, trials=4, recipe=akd.Recipe(epochs=30, batch_size=16))
        print("SWALLOWED", *[f"{a}\n{b}" for a,b in log], sep="\n")
    except KeyboardInterrupt:
        print("raised")
@pytest.mark.ray
@pytest.mark.parametrize("k", range(18))
def test_x(ray_session, tmp_path, k, capfd):
    with capfd.disabled(): run_one(tmp_path)
