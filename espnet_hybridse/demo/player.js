// Several signals, one play position. All <audio> elements run together and all but one are muted:
// choosing another one is heard at once, at the same place.
(() => {
  const APART = 0.05; // seconds: a muted signal further away from the one heard is brought back
  const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;

  class Player extends HTMLElement {
    connectedCallback() {
      this.rows = [...this.querySelectorAll(".hs-row[data-track]")];
      this.audios = this.rows.map((row) => row.querySelector("audio"));
      if (!this.audios.length) return;
      this.play = this.querySelector(".hs-play");
      this.seek = this.querySelector(".hs-seek");
      this.time = this.querySelector(".hs-time");
      this.seconds = Number(this.dataset.seconds);
      this.position = 0;
      this.play.onclick = () => (this.playing ? this.pause() : this.start());
      this.seek.oninput = () => this.go(Number(this.seek.value));
      this.rows.forEach((row, index) => {
        row.querySelector(".hs-track").onclick = () => this.choose(index);
      });
      this.querySelectorAll(".hs-picture").forEach((picture) => {
        picture.onclick = (event) => {
          const box = picture.getBoundingClientRect();
          this.go(((event.clientX - box.left) / box.width) * this.seconds);
        };
      });
      this.onkeydown = (event) => {
        const index = Number(event.key) - 1;
        if (index in this.rows) this.choose(index);
        if (event.key === " " && event.target.tagName !== "BUTTON") {
          event.preventDefault();
          this.play.click();
        }
      };
      this.choose(this.rows.length - 1);
    }

    disconnectedCallback() {
      if (this.audios) this.pause();
    }

    get heard() {
      return this.audios[this.index];
    }

    choose(index) {
      this.follow();
      this.index = index;
      this.rows.forEach((row, i) => {
        row.classList.toggle("hs-on", i === index);
        row.querySelector(".hs-track").setAttribute("aria-pressed", String(i === index));
        this.audios[i].muted = i !== index;
      });
      this.together();
    }

    async start() {
      if (this.position >= this.seconds - 0.02) this.position = 0;
      this.audios.forEach((audio) => (audio.currentTime = this.position));
      this.show(true);
      try {
        await Promise.all(this.audios.map((audio) => audio.play()));
      } catch (error) {
        if (error.name !== "AbortError") this.time.textContent = `not playable: ${error.message}`;
      }
      this.tick();
    }

    pause() {
      this.follow();
      this.audios.forEach((audio) => audio.pause());
      this.show(false);
    }

    go(seconds) {
      this.position = Math.min(Math.max(seconds, 0), this.seconds);
      this.audios.forEach((audio) => (audio.currentTime = this.position));
      this.draw();
    }

    show(playing) {
      this.playing = playing;
      this.play.classList.toggle("hs-playing", playing);
      this.play.setAttribute("aria-label", playing ? "Pause" : "Play");
      this.draw();
    }

    // The position is that of the signal heard.
    follow() {
      if (this.playing && !this.heard.seeking) this.position = this.heard.currentTime;
    }

    // The others go where it is; while they are muted nobody hears them jump.
    together() {
      if (!this.playing) return;
      this.audios.forEach((audio) => {
        const apart = Math.abs(audio.currentTime - this.position);
        if (!audio.seeking && apart > APART) audio.currentTime = this.position;
      });
    }

    tick() {
      if (!this.playing) return;
      this.follow();
      if (this.heard.ended) {
        this.position = this.seconds;
        this.pause();
        return;
      }
      this.together();
      this.draw();
      requestAnimationFrame(() => this.tick());
    }

    draw() {
      this.seek.value = this.position;
      this.time.textContent = `${clock(this.position)} / ${clock(this.seconds)}`;
      this.style.setProperty("--hs-place", `${(100 * this.position) / this.seconds}%`);
    }
  }

  if (!customElements.get("hybridse-player")) customElements.define("hybridse-player", Player);
})();
